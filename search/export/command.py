"""The `export` command: one configuration, or several trials in subfolders; and its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.store import open_data
from search.errors import InputError, TrackingError
from search.export.pick import Wanted, pick_top
from search.export.usage import fill_version
from search.export.write import Export, export
from search.runners.session import print_line, tracking_place
from search.study.config import StudyConfig
from search.tracking.mlflow_registry import Served


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The result of registering an export in MLflow's model registry."""

    version: str | None
    """Registered name and version; None if it is not registered."""
    alias: str | None
    problem: str | None
    """Why it is not registered; None if it is registered or tracking is disabled."""

    def to_text(self) -> str:
        """Return one line of text."""
        if self.version is None:
            return f"not registered: {self.problem}" if self.problem else "not registered: tracking is disabled"
        return f"{self.version}{f', alias {self.alias}' if self.alias else ''}"


def register(study: StudyConfig, exports: Sequence[Export]) -> list[Registration]:
    """Log export folders in MLflow and register their models, each with the alias of its state.

    An MLflow error does not affect the folders: it is recorded in the result, and nothing more is sent to MLflow.

    Returns:
        One registration per export, in the same order.
    """
    from search.tracking.mlflow_registry import register as register_in_mlflow

    found: list[Registration] = []
    place, problem = None, None
    try:
        place = tracking_place(study)
    except TrackingError as error:
        problem = "; ".join(error.faults)
    for item in exports:
        version, why = None, item.no_program
        if place is not None and problem is None and why is None:
            try:
                version = register_in_mlflow(
                    item.folder,
                    uri=place.uri,
                    experiment=place.experiment,
                    name=study.name,
                    served=_served(item),
                    digest=item.digest,
                    tags={"state": item.winner.state, "configuration": item.winner.name},
                    alias=item.winner.alias,
                    on_version=partial(fill_version, item.folder),
                )
            except TrackingError as error:
                problem = "; ".join(error.faults)
        registered = None if version is None else f"{study.name} version {version}"
        reason = problem or (f"torch.export cannot trace it: {why}" if why and place else None)
        found.append(Registration(version=registered, alias=item.winner.alias if version else None, problem=reason))
    return found


def _served(item: Export) -> Served:
    """Return what MLflow registers: the program, its loader, and an example with its table."""
    import torch

    from search.export import image_classifier

    def program(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            found: NDArray[np.float32] = item.model.eval()(torch.from_numpy(pixels)).numpy()
        return found

    example = np.full((1, *item.model.image_size, 3), 128, dtype=np.uint8)
    return Served(
        program=item.folder / "model.pt2",
        loader=Path(image_classifier.__file__),
        example=example,
        table=image_classifier.ImageClassifier(program, item.metadata).predict(example),
        packages=("torch", "numpy", "pandas", "Pillow"),
    )


Exported = list[tuple[Export, Registration]]


def export_all(
    study: StudyConfig,
    to: Path,
    *,
    config: str | None = None,
    trial: int | None = None,
    top: int | None = None,
    onnx: bool = False,
) -> Exported:
    """Export one configuration or several trials, then register them in MLflow.

    Args:
        study: The study.
        to: The folder to write; with `top`, it receives one subfolder `trial-N` per trial.
        config: Name of a configuration of the comparison, instead of the study's choice.
        trial: Number of a trial of the sweep, instead of the study's choice.
        top: Number of highest-ranked trials of the sweep, instead of the study's choice.
        onnx: Whether each folder also receives the program in ONNX form.

    Raises:
        InputError: More than one of `config`, `trial` and `top` is given, or it does not exist.
    """
    given = [name for name, value in (("--config", config), ("--trial", trial), ("--top", top)) if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: expected one of them, found {len(given)}; run one export for each")
    if top is None:
        chosen = [(to, Wanted(config=config, trial=trial))]
    else:
        chosen = [(to / f"trial-{item.trial}", item) for item in pick_top(study, top)]
    images = cache(lambda: open_data(study.data))
    exports = [export(study, folder, wanted, onnx=onnx, images=images) for folder, wanted in chosen]
    registrations = register(study, exports)
    if problem := next((item.problem for item in registrations if item.problem), None):
        print_line(f"warning: not registered: {problem}; every folder is complete; run the same command again to retry")
    return list(zip(exports, registrations, strict=True))


def to_rows(exported: Exported, is_list: bool) -> Any:  # noqa: ANN401
    """Return the result of `export` as plain data for `--json`."""
    rows = [
        {
            "name": item.winner.name,
            "trial": item.winner.record.number if item.winner.record.kind == "trial" else None,
            "state": item.winner.state,
            "notes": list(item.winner.notes),
            "folder": str(item.folder),
            "registered": registration.version,
            "alias": registration.alias,
            "problem": registration.problem,
        }
        for item, registration in exported
    ]
    return rows if is_list else rows[0]


def to_lines(exported: Exported) -> list[str]:
    """Return the result of `export` as lines of text."""
    return [
        line
        for item, registration in exported
        for line in (
            f"{item.winner.name}: {item.winner.state}",
            *(comparison.sentence for comparison in item.winner.comparisons),
            *(f"note        {note}" for note in item.winner.notes),
            f"folder      {item.folder}",
            f"registry    {registration.to_text()}",
        )
    ]
