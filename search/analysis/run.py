"""Run an analysis: read the results, declare the family, judge it, and return the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.analysis.document import to_document
from search.analysis.duplicates import odd_repeats, without_copies
from search.analysis.experiment import Question, read_experiment
from search.analysis.family import declare_families
from search.analysis.faults import AnalysisError, Faults
from search.analysis.frame import Frame
from search.analysis.image_order import check_image_order
from search.analysis.long_format import to_reading
from search.analysis.notes import blocks_in_words, is_missing, lone_outliers
from search.analysis.options import Options, declare
from search.analysis.read_options import DETECTED, ReadOptions
from search.analysis.reading import Reading
from search.analysis.sources import read_file, read_table
from search.significance import judge_results
from search.significance.across import MIN_DATA_SETS
from search.significance.declared import Declared
from search.significance.methods import METHODS
from search.significance.records import Comparison
from search.significance.units import in_unit, negated
from search.significance.unpaired import judge_unpaired
from search.text.counted import counted

WIDE_ROPE = 0.05
"""A larger rope may have been given in percent by mistake."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Results of an analysis."""

    document: dict[str, Any]
    comparisons: tuple[Comparison, ...]


def analyze(
    source: Path | Question | Frame,
    options: Options,
    asked: ReadOptions = DETECTED,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """Judge results from a file, a table in memory or an MLflow experiment.

    Args:
        source: A file of results, a data frame, or the selected runs of an MLflow experiment.
        options: Options that declare the analysis.
        asked: Stated meaning of the columns, direction and unit of the scores.
        tell: Receives a line on how the source was read, before anything is judged.

    Returns:
        The comparisons and the document for `analysis.json`.

    Raises:
        AnalysisError: The results or the options are invalid; one line per fault.
        TrackingError: MLflow is not installed or the experiment does not exist.
    """
    declared = declare(options, asked)
    if isinstance(source, Question) and (wrong := asked.columns):
        raise AnalysisError(f"{', '.join(wrong)}: only for a file; with --mlflow, use --group-by, --block and --metric")
    if isinstance(source, Question):
        reading = _from_mlflow(source, asked, tell)
    else:
        read = read_file if isinstance(source, Path) else read_table
        reading = read(source, asked, tell=tell)  # type: ignore[arg-type]
    families = declare_families(
        reading.configs, control=options.control, all_pairs=options.all_pairs, file=options.family
    )
    _check_results(reading, declared, asked)
    results, copies = without_copies(reading.results)
    odd = (*copies, *(note for item in results for note in (*odd_repeats(item), *lone_outliers(item))))
    reading = dataclasses.replace(reading, results=results, notes=(*reading.notes, *odd))
    lower = asked.direction == "lower" and any(item.scores for item in results)
    judge = judge_unpaired if asked.unpaired else judge_results
    comparisons = tuple(
        in_unit(comparison, lower_is_better=lower, own_unit=asked.own_unit)
        for name, pairs in families.items()
        for comparison in judge(negated(results) if lower else results, pairs, declared, family_name=name)
    )
    notes = (
        *reading.notes,
        *_notes_on_ratio(reading, declared, asked),
        *_notes_on_unused(declared, comparisons, asked),
    )
    reading = dataclasses.replace(reading, notes=notes)
    document = to_document(reading, families, declared, comparisons, asked)
    return Analysis(document=document, comparisons=comparisons)


def _from_mlflow(question: Question, asked: ReadOptions, tell: Callable[[str], None]) -> Reading:
    names = " + ".join(question.group_by)
    tell(f"read: config = {names}, block = {question.block}, score = {question.metric}, the last value of each run")
    return to_reading(read_experiment(question, asked), asked)


def _notes_on_ratio(reading: Reading, declared: Declared, asked: ReadOptions) -> Iterator[str]:
    """Yield notes on how the ratio, or its absence, limits the claims."""
    if asked.unpaired:
        shared = [set.intersection(*map(set, item.blocks.values())) for item in reading.results]
        if count := sum(map(len, shared)):
            yield (
                f"the configurations share {counted(count, 'block')} by name: if these are the same seeds or splits, "
                "remove --unpaired, because paired runs detect smaller differences"
            )
        return
    folds = reading.source.get("folds")
    has_scores = any(item.scores for item in reading.results) and len(reading.results) < MIN_DATA_SETS
    if has_scores and declared.ratio is None and (declared.estimand, declared.method) == ("auto", "auto"):
        if folds:
            yield (
                f"the blocks are {folds}, whose trainings share images: without --ratio (images scored over images "
                "trained on; 1/9 for ten folds) they are treated as independent, which overstates the evidence"
            )
            return
        yield (
            "without --ratio, claims are about this data set only; if every block is a random split of the data, "
            "--ratio (images scored over images trained on) allows claims about new data"
        )
    if declared.ratio is not None and declared.ratio > 1:
        yield f"--ratio {declared.ratio:.3g} means that more images were scored than trained on; a 7:3 split is 3/7"


def _notes_on_unused(declared: Declared, comparisons: Sequence[Comparison], asked: ReadOptions) -> Iterator[str]:
    """Yield notes on options that had no effect."""
    if asked.direction == "lower" and not any(item.lower_is_better for item in comparisons):
        yield "--lower-is-better was not used: for the correctness of images, higher is always better"
    tests = {item.test for item in comparisons} | {item.secondary.name for item in comparisons if item.secondary}
    if declared.ratio is not None and METHODS["corrected-t"].title not in tests:
        yield "--ratio was not used: it is for scores of random splits and claims about new data"
    if declared.rope > WIDE_ROPE and not asked.own_unit:
        yield f"--rope {declared.rope:g} is {100 * declared.rope:g} percentage points; half a point is 0.005"
    if declared.num_images is not None and declared.method != "pooled-images":
        yield "--num-images was not used: it is for --method pooled-images"
    if declared.num_classes is not None and not any(item.failures_a or item.failures_b for item in comparisons):
        yield "--num-classes was not used: no training diverged"


def _check_results(reading: Reading, declared: Declared, asked: ReadOptions) -> None:
    """Check the image order, and that chance accuracy is known if a diverged repeat needs it."""
    faults = Faults(reading.name)
    for item in reading.results:
        check_image_order(item, faults)
        for config in item.configs:
            values = (item.correct or item.scores).get(config, ())
            left_nothing = [
                block
                for block, value in zip(item.blocks[config], values, strict=True)
                if block in item.diverged.get(config, ()) and is_missing(value)
            ]
            if not left_nothing:
                continue
            where = f"{item.dataset}, {config}" if item.dataset else config
            what = f"{where}: {blocks_in_words(left_nothing)} diverged without a result"
            if item.scores and (asked.own_unit or asked.direction == "lower"):
                faults.add(
                    f"{what}, and the chance level is known only for accuracies; give a score, or remove the row"
                )
            elif declared.num_classes is None:
                faults.add(f"{what}, which is scored as chance; give --num-classes")
    faults.check()
