"""`search.analyze`: which configuration is better, in results of any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from search.api.shown import Shown
from search.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def analyze(
    results: pd.DataFrame | NDArray[np.floating] | str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    config: str | None = None,
    block: str | None = None,
    score: str | None = None,
    dataset: str | None = None,
    image: str | None = None,
    label: str | None = None,
    prediction: str | None = None,
    metric: str | None = None,
    at: str | int | None = None,
    direction: Literal["lower", "higher"] | None = None,
    scale: float | None = None,
    unpaired: bool = False,
    control: str | None = None,
    all_pairs: bool = False,
    family: str | os.PathLike[str] | None = None,
    estimand: str | None = None,
    ratio: str | float | None = None,
    alpha: float | None = None,
    rope: float | None = None,
    method: str | None = None,
    adjust: str | None = None,
    num_images: int | None = None,
    num_classes: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> Shown:
    """Judge results that any program measured, as the command `analyze` does.

    Args:
        results: A data frame with the columns of a results file (docs/analysis.md); an array of scores, shape
            (num_blocks, num_configs), whose rows share a seed or split; or the path of a results file.
        names: Names of an array's columns.
        config: Column that names the configuration, and so on for `block`, `score`, `dataset`, `image`, `label` and
            `prediction`; None: detected, and an error if two columns are plausible.
        block: See `config`.
        score: See `config`.
        dataset: See `config`.
        image: See `config`.
        label: See `config`.
        prediction: See `config`.
        metric: Metric that is the score, if one column names the metric of each row.
        at: Step of the learning curve that is the score: `"last"`, or a step.
        direction: Which scores are better.
        scale: Divisor of the scores: 100 for percent, 1 keeps the unit.
        unpaired: Whether the runs share no seed or split.
        control: Compare every other configuration with this one.
        all_pairs: Compare every configuration with every other one.
        family: YAML file of pairs, or of families.
        estimand: Claims are about `"new-data"` or `"this-data"`.
        ratio: Random splits: images scored over images trained on, such as 3/7.
        alpha: Error rate of the whole family; default 0.05.
        rope: Smallest difference that matters; default 0.005.
        method: Test to use instead of the automatic choice.
        adjust: Adjustment of the p-values; default holm.
        num_images: Images behind each score, for `method="pooled-images"`.
        num_classes: Number of classes, to score a lost run as chance.
        tell: Receives a line on how the columns were read; by default it is printed to standard error.

    Returns:
        The verdicts, tables and notes.

    Raises:
        InputError: The results or options are invalid; one line per fault.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.91, 0.95], [0.90, 0.96], [0.92, 0.95], [0.89, 0.94], [0.90, 0.95], [0.91, 0.96]])
        >>> found = search.analyze(scores, names=["small", "large"], tell=lambda line: None)  # doctest: +SKIP
        >>> found.comparisons[0].verdict.value                                                # doctest: +SKIP
        'better'
    """
    from search.analysis.document import to_lines
    from search.analysis.options import Options
    from search.analysis.read_options import ReadOptions
    from search.analysis.run import analyze as judge
    from search.console.messages import print_line

    columns = {"config": config, "block": block, "score": score}
    source, meaning = _source_of(results, names, columns)
    found = judge(
        source,
        Options(
            control=control,
            all_pairs=all_pairs,
            family=None if family is None else Path(family),
            estimand=estimand,
            ratio=None if ratio is None else str(ratio),
            alpha=alpha,
            rope=rope,
            method=method,
            adjust=adjust,
            num_images=num_images,
            num_classes=num_classes,
        ),
        ReadOptions(
            **meaning,
            dataset=dataset,
            image=image,
            label=label,
            prediction=prediction,
            metric=metric,
            at=None if at is None else str(at),
            direction=direction,
            scale=scale,
            unpaired=unpaired,
        ),
        tell=tell or print_line,
    )
    lines = tuple(to_lines(found.document, found.comparisons))
    return Shown(data=found.document, lines=lines, comparisons=found.comparisons)


def _source_of(
    results: Any,  # noqa: ANN401
    names: Sequence[str] | None,
    columns: dict[str, str | None],
) -> tuple[Any, dict[str, str | None]]:
    """Return the source for the analysis, and the columns config, block and score."""
    import numpy as np
    import pandas as pd

    from search.analysis.frame import Frame

    if not isinstance(results, np.ndarray) and names is not None:
        raise InputError(f"names: expected none beside {type(results).__name__}; they name the columns of an array")
    if isinstance(results, str | os.PathLike):
        return Path(results), columns
    if isinstance(results, pd.DataFrame):
        return Frame(table=results), columns
    if not isinstance(results, np.ndarray):
        raise InputError(
            f"results: expected a pandas.DataFrame, an array or a path, found {type(results).__name__}; wrap lists in "
            "np.array"
        )
    if results.ndim != 2 or results.dtype.kind not in "fiu":
        raise InputError(
            f"results: expected numbers of shape (blocks, configurations), found {results.dtype} of shape "
            f"{results.shape}"
        )
    if names is None or len(names) != results.shape[1] or len(set(map(str, names))) != len(names):
        found = "none" if names is None else f"{len(names)}: {', '.join(map(str, names))}"
        raise InputError(
            f"names: expected {results.shape[1]} different names, one per column of the array, found {found}"
        )
    if wrong := [name for name, value in columns.items() if value is not None]:
        raise InputError(f"{', '.join(wrong)}: expected none with an array, whose columns are configurations")
    num_blocks, num_configs = results.shape
    table = pd.DataFrame(
        {
            "config": list(map(str, names)) * num_blocks,
            "block": np.repeat(np.arange(num_blocks), num_configs),
            "score": results.ravel(),
        }
    )
    return Frame(table=table), {"config": "config", "block": "block", "score": "score"}
