"""Reads the input of a report from the study's folder. Trains nothing and decodes no test image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.compare.repeats import load_correct
from search.journal.comparison import Choice, ComparedData, ComparisonDocument
from search.journal.comparison_file import load_comparison
from search.journal.reading import read_history
from search.journal.selection import Selection
from search.journal.summary import Status
from search.records import TrialRecord
from search.report.overview import overview_of
from search.significance.by_class import ClassDifference, by_class
from search.significance.records import Comparison
from search.study.config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Material:
    """The state of a study, as input to its report."""

    study: StudyConfig
    trials: tuple[TrialRecord, ...]
    repeats: tuple[TrialRecord, ...]
    status: Status
    """Counts and failures of the sweep."""
    sessions: tuple[Mapping[str, Any], ...]
    """`session` events of the journal: the command, the machine, the versions and the data of each session."""
    document: ComparisonDocument | None
    """The newest comparison; None before one."""
    selection: Selection | None
    """The nominee's current scores; None without a nominee."""
    choice: Choice | None
    """The configuration that `export` would take now, its state and notes; None without a nominee."""
    decision: str | None = None
    """What the newest comparison decides; None without one of the configuration that the study reports."""
    classes: tuple[tuple[ClassDifference, ...], ...] = ()
    """Per comparison, its difference for each class; empty if unknown."""
    why_no_classes: str = ""
    """Why `classes` is empty although there is a comparison."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The comparisons of the newest comparison; empty before one."""
        return self.document.comparisons if self.document else ()

    @property
    def last(self) -> Mapping[str, Any]:
        """The latest session event."""
        return self.sessions[-1] if self.sessions else {}


def gather(study: StudyConfig) -> Material:
    """Read the input of a report from a study's folder.

    Raises:
        InputError: The journal or comparison.json is damaged.
    """
    history = read_history(study.folder)
    document = load_comparison(study.folder)
    overview = overview_of(study, history, document)
    classes, why_not = _classes(study, document, history.records)
    records = history.records.values()
    return Material(
        study=study,
        trials=tuple(record for record in records if record.kind == "trial"),
        repeats=tuple(record for record in records if record.kind == "repeat"),
        status=overview.status,
        sessions=tuple(event for event in history.marks if event["event"] == "session"),
        document=document,
        selection=overview.selection,
        choice=overview.choice,
        decision=overview.decision,
        classes=classes,
        why_no_classes=why_not,
    )


def _classes(
    study: StudyConfig, document: ComparisonDocument | None, records: Mapping[str, TrialRecord]
) -> tuple[tuple[tuple[ClassDifference, ...], ...], str]:
    """Return the differences per class of every comparison, or why they are unknown."""
    if document is None or not any(comparison.num_images for comparison in document.comparisons):
        return (), "no comparison has the correctness of test images"
    found = _labels(study, document.data)
    if isinstance(found, str):
        return (), found
    labels, names = found
    keys = {(item.name, run.block): run.key for item in document.contenders for run in item.repeats}

    def bits(name: str, block: str) -> NDArray[np.uint8] | None:
        record = records.get(keys.get((name, block), ""))
        file = record.artifacts.get("correct") if record else None
        if record is None or file is None or not (study.folder / file).exists():
            return None
        return load_correct(study.folder, record, len(labels))

    every: list[tuple[ClassDifference, ...]] = []
    for comparison in document.comparisons:
        pairs = [(bits(comparison.a, block), bits(comparison.b, block)) for block in comparison.blocks]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not both or not comparison.num_images:
            every.append(())
            continue
        a, b = (np.array(side) for side in zip(*both, strict=True))
        every.append(by_class(a, b, labels, names, alpha=comparison.alpha))
    return tuple(every), "" if any(every) else "the correctness of the repeats is missing"


def _labels(study: StudyConfig, data: ComparedData) -> tuple[NDArray[np.int64], tuple[str, ...]] | str:
    """Return the labels of the test images and the class names, or why they are unknown; reads only cached data."""
    from search.data.errors import DataError
    from search.data.store import default_cache_dir, entry_folder, open_entry

    try:
        images = open_entry(entry_folder(study.data, default_cache_dir()), study.data.place)
    except DataError:
        images = None
    if images is None:
        return f"the images are not decoded on this machine; run `hybrid-search data {study.data.name}`"
    if images.digest != data.digest:
        return f"the images on this machine ({images.digest}) are not those of the study ({data.digest})"
    return np.asarray(images.test.labels), images.classes
