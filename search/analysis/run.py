"""From somebody's results to verdicts: read, declare, judge, tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.analysis.document import to_document
from search.analysis.experiment import Question, read_experiment
from search.analysis.family import declare_families
from search.analysis.faults import Faults
from search.analysis.long_format import to_reading
from search.analysis.notes import blocks_in_words, is_missing
from search.analysis.options import Options, declare
from search.analysis.reading import Reading, read_file
from search.significance import judge_results
from search.significance.across import MIN_DATA_SETS
from search.significance.declared import Declared
from search.significance.methods import METHODS
from search.significance.records import Comparison


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What came of it."""

    document: dict[str, Any]
    comparisons: tuple[Comparison, ...]


def analyze(source: Path | Question, options: Options) -> Analysis:
    """Judge anybody's results.

    Args:
        source: A file of results, or what of an MLflow experiment is to be judged.
        options: What is declared.

    Raises:
        AnalysisError: The results or the options are wrong; one line per fault.
        TrackingError: MLflow or the experiment is not there.
    """
    declared = declare(options)
    reading = read_file(source) if isinstance(source, Path) else to_reading(read_experiment(source))
    families = declare_families(
        reading.configs, control=options.control, all_pairs=options.all_pairs, file=options.family
    )
    _check_chance(reading, declared)
    comparisons = tuple(
        comparison
        for name, pairs in families.items()
        for comparison in judge_results(reading.results, pairs, declared, family_name=name)
    )
    notes = (*reading.notes, *_notes_on_ratio(reading, declared), *_notes_on_unused(declared, comparisons))
    reading = dataclasses.replace(reading, notes=notes)
    return Analysis(document=to_document(reading, families, declared, comparisons), comparisons=comparisons)


def _notes_on_ratio(reading: Reading, declared: Declared) -> Iterator[str]:
    """What the ratio, or its absence, does to the claims."""
    has_scores = any(item.scores for item in reading.results) and len(reading.results) < MIN_DATA_SETS
    if has_scores and declared.ratio is None and (declared.estimand, declared.method) == ("auto", "auto"):
        yield (
            "without --ratio these are claims on this data set alone; where every block is a random split of the data, "
            "--ratio (images scored over images trained on) allows claims on new data"
        )
    if declared.ratio is not None and declared.ratio > 1:
        yield f"--ratio {declared.ratio:.3g} says that more images were scored than trained on; a 7:3 split is 3/7"


def _notes_on_unused(declared: Declared, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Options that had nothing to act on."""
    tests = {item.test for item in comparisons} | {item.secondary.name for item in comparisons if item.secondary}
    if declared.ratio is not None and METHODS["corrected-t"].title not in tests:
        yield "--ratio was not used: it belongs to scores of random splits and the claim on new data"
    if declared.num_images is not None and declared.method != "pooled-images":
        yield "--num-images was not used: it belongs to --method pooled-images"
    if declared.num_classes is not None and not any(item.failures_a or item.failures_b for item in comparisons):
        yield "--num-classes was not used: no training diverged"


def _check_chance(reading: Reading, declared: Declared) -> None:
    """A diverged repeat without a result counts as chance, and chance must be known."""
    if declared.num_classes is not None:
        return
    faults = Faults(reading.name)
    for item in reading.results:
        for config in item.configs:
            values = (item.correct or item.scores).get(config, ())
            left_nothing = [
                block
                for block, value in zip(item.blocks[config], values, strict=True)
                if block in item.diverged.get(config, ()) and is_missing(value)
            ]
            if left_nothing:
                where = f"{item.dataset}, {config}" if item.dataset else config
                faults.add(
                    f"{where}: {blocks_in_words(left_nothing)} diverged and left no result, which counts as chance; "
                    "give --num-classes"
                )
    faults.check()
