"""Check the options of the command line before any file is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from search.analysis.experiment import Question
from search.analysis.faults import AnalysisError, near
from search.analysis.read_options import DETECTED, LAST, ReadOptions
from search.significance.declared import Adjust, Declared, Estimand, MethodName


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `analyze` as typed; None: use the analysis's default."""

    control: str | None = None
    all_pairs: bool = False
    family: Path | None = None
    estimand: str | None = None
    ratio: str | None = None
    """Number of scored images over training images: 3/7 or 0.4286."""
    alpha: float | None = None
    rope: float | None = None
    method: str | None = None
    adjust: str | None = None
    num_images: int | None = None
    num_classes: int | None = None


def choose_source(
    file: Path | None,
    experiment: str | None,
    *,
    metric: str | None,
    group_by: str | None,
    block: str | None,
    uri: str | None,
) -> Path | Question:
    """Return a file, or the selected runs of an MLflow experiment.

    Args:
        file: A file of results.
        experiment: Name or id of an MLflow experiment, instead of a file.
        metric: Metric to read as the score.
        group_by: Comma-separated params or tags that identify a configuration; only for an experiment.
        block: Param or tag that identifies a repeat; only for an experiment.
        uri: Tracking URI; only for an experiment.

    Raises:
        AnalysisError: Neither or both are given, or an option belongs to the other source.
    """
    with_mlflow = {"--metric": metric, "--group-by": group_by, "--block": block}
    elsewhere = {"--group-by": "--config-column", "--block": "--block-column"}
    if experiment is None:
        if file is None:
            raise AnalysisError("expected a file of results or --mlflow EXPERIMENT, found neither; give one")
        given = {"--group-by": group_by, "--block": block, "--tracking-uri": uri}
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            instead = [elsewhere[name] for name in wrong if name in elsewhere]
            mend = f"for a file it is {', '.join(instead)}" if instead else "remove it"
            raise AnalysisError(f"{', '.join(wrong)}: only for --mlflow, not for a file; {mend}")
        return file
    if file is not None:
        raise AnalysisError(f"expected a file of results or --mlflow, found both {file} and {experiment!r}; give one")
    names = tuple(name.strip() for name in (group_by or "").split(",") if name.strip())
    if missing := [name for name, value in {**with_mlflow, "--group-by": names}.items() if not value]:
        meaning = "the score, the configuration and the block"
        raise AnalysisError(
            f"--mlflow: expected --metric, --group-by and --block ({meaning}), add {', '.join(missing)}"
        )
    assert metric is not None
    assert block is not None
    return Question(experiment=experiment, metric=metric, group_by=names, block=block, uri=uri)


def declare(options: Options, asked: ReadOptions = DETECTED) -> Declared:
    """Convert the options into the declared settings of the analysis.

    Args:
        options: The options as typed.
        asked: Unit of the scores: with their own unit there is no default rope.

    Raises:
        AnalysisError: One line per invalid option.
    """
    ratio = None if options.ratio is None else parse_ratio(options.ratio)
    faults = [*_faults(options, ratio, asked), *_reading_faults(asked)]
    if faults:
        raise AnalysisError(*faults)
    given = {
        "estimand": options.estimand,
        "method": options.method,
        "adjust": options.adjust,
        "alpha": options.alpha,
        "rope": 0.0 if asked.own_unit and options.rope is None else options.rope,
        "ratio": ratio,
        "num_images": options.num_images,
        "num_classes": options.num_classes,
    }
    return Declared(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def parse_ratio(text: str) -> float:
    """Parse 3/7 or 0.4286; NaN if the text is neither.

    >>> parse_ratio("3/4")
    0.75
    """
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        return math.nan


def _faults(options: Options, ratio: float | None, asked: ReadOptions) -> Iterator[str]:
    choices = {"estimand": Estimand, "method": MethodName, "adjust": Adjust}
    for name, kind in choices.items():
        value, known = getattr(options, name), get_args(kind)
        if value is not None and value not in known:
            yield f"--{name}: expected one of {', '.join(known)}, found {value!r}; {near(value, known, 'choose from')}"
    if ratio is not None and not 0 < ratio < math.inf:
        yield f"--ratio: expected images scored over images trained on, such as 3/7, found {options.ratio!r}"
    if options.alpha is not None and not 0 < options.alpha < 0.5:
        yield f"--alpha: expected an error rate above 0 and below 0.5, found {options.alpha:g}; 0.05 is usual"
    if options.rope is not None and asked.own_unit and not 0 <= options.rope < math.inf:
        yield f"--rope: expected a difference in the unit of the scores, 0 or more, found {options.rope:g}"
    elif options.rope is not None and not asked.own_unit and not 0 <= options.rope < 0.5:
        yield f"--rope: expected a fraction from 0 to 0.5 (0.005 is half a percentage point), found {options.rope:g}"
    if options.num_images is not None and options.num_images < 1:
        yield f"--num-images: expected at least 1, found {options.num_images}"
    if options.num_classes is not None and options.num_classes < 2:
        yield f"--num-classes: expected at least 2, found {options.num_classes}"
    if asked.unpaired and (options.method or options.ratio or options.estimand == "new-data"):
        yield (
            "--unpaired: runs without common blocks are compared by Welch's test, on this data set; remove --method, "
            "--ratio and --estimand"
        )
    if asked.unpaired and options.adjust == "max-t":
        yield "--adjust: max-t flips the signs of whole blocks, and unpaired runs have none; use holm"
    if asked.own_unit and options.method == "pooled-images":
        yield "--method: pooled-images counts correct images, and these scores have another unit; remove it"


def _reading_faults(asked: ReadOptions) -> Iterator[str]:
    """Yield a fault for each invalid option on how the file is read."""
    if asked.scale is not None and not 0 < asked.scale < math.inf:
        yield f"--scale: expected a number above 0 by which scores are divided, such as 100, found {asked.scale:g}"
    if asked.at is not None and asked.at != LAST and not _is_number(asked.at):
        yield (
            f"--at: expected last or the number of a step, found {asked.at!r}; the best step of a curve is biased "
            "upward"
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
