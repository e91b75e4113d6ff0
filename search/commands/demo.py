"""The `demo` command: sweep, comparison, export and prediction on the embedded digits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from search.compare.run import run_compare
from search.export.command import register
from search.export.predict import Prediction, predict
from search.export.write import export
from search.journal.comparison import ComparisonDocument
from search.runners.session import print_line
from search.study.config import StudyConfig
from search.study.load import load_study
from search.study.shipped import shipped_study
from search.sweep.run import run_sweep

NUM_IMAGES = 5


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Results of the demo."""

    study: StudyConfig
    document: ComparisonDocument
    export_folder: Path
    registered: str
    """Name and version in MLflow's registry, or why the model is not registered."""
    predictions: tuple[tuple[str, Prediction], ...]
    """True class and prediction of some test images."""
    elapsed_secs: float


def run_demo(overrides: list[str]) -> DemoResult:
    """Run the shipped demo study; resume it if it was interrupted, and return its results if it is complete."""
    start = time.monotonic()
    study = load_study(Path(shipped_study("demo")), overrides)
    print_line("1/4 sweep: the ECRNN space on 8x8 digits")
    run_sweep(study)
    print_line("2/4 compare: the nominee and the CNN, trained again on fresh repeats")
    document = run_compare(study)
    print_line("3/4 export")
    folder = study.folder / "export"
    (registration,) = register(study, [export(study, folder)])
    print_line("4/4 predict a few test images")
    predictions = _predict_some(study, folder)
    return DemoResult(
        study=study,
        document=document,
        export_folder=folder,
        registered=registration.to_text(),
        predictions=tuple(predictions),
        elapsed_secs=time.monotonic() - start,
    )


def _predict_some(study: StudyConfig, folder: Path) -> list[tuple[str, Prediction]]:
    from PIL import Image

    from search.data.datasets import scan

    data = scan(study.data)
    images = study.folder / "images"
    images.mkdir(exist_ok=True)
    truths, paths = [], []
    for position in range(NUM_IMAGES):
        path = images / f"digit-{position}.png"
        Image.fromarray(data.test.read(position)).save(path)
        truths.append(data.classes[int(data.test.labels[position])])
        paths.append(path)
    return list(zip(truths, predict(folder, paths).predictions, strict=True))
