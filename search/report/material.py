"""What a report is about, read from the study's folder: nothing is trained, and no test image is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.compare.repeats import load_correct
from search.errors import InputError
from search.journal.journal import read_history, read_records
from search.journal.summary import Status, summarise
from search.records import TrialRecord
from search.report.overview import make_overview
from search.significance.by_class import ClassDifference, by_class
from search.significance.records import Comparison
from search.significance.restored import restore
from search.study.config import StudyConfig
from search.study.folder import load_comparison


@dataclass(frozen=True, kw_only=True)
class Material:
    """A study, as its report needs it."""

    study: StudyConfig
    trials: tuple[TrialRecord, ...]
    repeats: tuple[TrialRecord, ...]
    status: Status
    """Of the sweep."""
    sessions: tuple[Mapping[str, Any], ...]
    """`session` events: which verb ran where, with which versions, on which data."""
    document: Mapping[str, Any]
    """comparison.json; empty before a comparison."""
    comparisons: tuple[Comparison, ...]
    selection: Mapping[str, Any]
    """The nominee's scores as they stand now; empty before there is a nominee."""
    choice: Mapping[str, Any]
    """The configuration that `export` takes now, its state and notes on it; empty before there is a nominee."""
    classes: tuple[tuple[ClassDifference, ...], ...] = ()
    """Per comparison, its differences class by class; empty where they are not known."""
    why_no_classes: str = ""
    """Why they are not, where there is a comparison."""

    @property
    def last(self) -> Mapping[str, Any]:
        """The latest session."""
        return self.sessions[-1] if self.sessions else {}


def gather(study: StudyConfig) -> Material:
    """Read a study's folder.

    Raises:
        InputError: Its journal or its comparison was damaged.
    """
    records = list(read_records(study.folder).values())
    trials = tuple(record for record in records if record.kind == "trial")
    document = load_comparison(study.folder) or {}
    try:
        comparisons = tuple(restore(item) for item in document.get("comparisons", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{study.folder}: comparison.json cannot be read ({error}); run `hybrid-search compare` again"
        ) from None
    sessions = [event for event in read_history(study.folder).marks if event["event"] == "session"]
    overview = make_overview(study)
    classes, why_not = _classes(study, document, comparisons)
    return Material(
        study=study,
        trials=trials,
        repeats=tuple(record for record in records if record.kind == "repeat"),
        status=summarise(trials, study.search.trials),
        sessions=tuple(sessions),
        document=document,
        comparisons=comparisons,
        selection=overview["selection"] or {},
        choice=overview["choice"] or {},
        classes=classes,
        why_no_classes=why_not,
    )


def _classes(
    study: StudyConfig, document: Mapping[str, Any], comparisons: Sequence[Comparison]
) -> tuple[tuple[tuple[ClassDifference, ...], ...], str]:
    """Every comparison class by class, or why not."""
    if not any(comparison.num_images for comparison in comparisons):
        return (), "no comparison rests on test images"
    found = _labels(study, document["data"])
    if isinstance(found, str):
        return (), found
    labels, names = found
    records = read_records(study.folder)
    keys = {(item["name"], run["block"]): run["key"] for item in document["contenders"] for run in item["repeats"]}

    def bits(name: str, block: str) -> NDArray[np.uint8] | None:
        record = records.get(keys.get((name, block), ""))
        file = record.artifacts.get("correct") if record else None
        if record is None or file is None or not (study.folder / file).exists():
            return None
        return load_correct(study.folder, record, len(labels))

    every: list[tuple[ClassDifference, ...]] = []
    for comparison in comparisons:
        pairs = [(bits(comparison.a, block), bits(comparison.b, block)) for block in comparison.blocks]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not both or not comparison.num_images:
            every.append(())
            continue
        a, b = (np.array(side) for side in zip(*both, strict=True))
        every.append(by_class(a, b, labels, names, alpha=comparison.alpha))
    return tuple(every), "" if any(every) else "the right answers of the repeats are gone"


def _labels(study: StudyConfig, data: Mapping[str, Any]) -> tuple[NDArray[np.int64], tuple[str, ...]] | str:
    """True classes of the test images and their names, or why they are not known; decodes and downloads nothing."""
    from search.data.errors import DataError
    from search.data.store import default_cache_dir, entry_folder, open_entry

    try:
        images = open_entry(entry_folder(study.data, default_cache_dir()), study.data.place)
    except DataError:
        images = None
    if images is None:
        return f"the images are not decoded on this machine; `hybrid-search data {study.data.name}` does it"
    if images.digest != data["digest"]:
        return f"the images on this machine ({images.digest}) are not those of the study ({data['digest']})"
    return np.asarray(images.test.labels), images.classes
