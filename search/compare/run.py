"""Run a comparison: train repeats on shared blocks, or a race and its confirmation, and judge them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar

from search.compare.contenders import Contender, declare_families, pick_contenders, unfinished_sweep
from search.compare.interim import key_of, note_undecided, undecided
from search.compare.race_rounds import Rounds, news, race_title, still_in
from search.compare.repeats import Repeats, judge_repeats
from search.compare.results import write_results
from search.console.messages import print_step
from search.console.progress import Display, counter
from search.errors import TooManyFailuresError
from search.journal.comparison import ComparisonDocument
from search.journal.journal import Journal
from search.records import Failed, TrialRecord
from search.runners.checks import check_study
from search.runners.dispatcher import Dispatcher
from search.runners.interruption import interruptible
from search.runners.session import TRACKER_PATIENCE_SECS, Shown, open_runner, open_session, print_line
from search.study.bind import DataFacts, check_race
from search.study.config import StudyConfig

Document = TypeVar("Document")


def run_compare(study: StudyConfig, *, patience: float = TRACKER_PATIENCE_SECS) -> ComparisonDocument:
    """Train the missing repeats of the comparison, judge them and write the results.

    With declared interim analyses, it ends at the first one that decides every comparison.

    Args:
        study: The study.
        patience: Maximum wait for MLflow at the end, in seconds.

    Returns:
        The record of the comparison.
    """

    def pick(journal: Journal) -> list[Contender]:
        records = list(journal.records.values())
        _print_lines(study, unfinished_sweep(study, records, journal.marks))
        return pick_contenders(study, records)

    def conclude(facts: DataFacts, repeats: Repeats, journal: Journal) -> ComparisonDocument | None:
        comparisons = judge_repeats(study, facts, repeats)
        if line := undecided(study.compare, len(repeats.blocks), comparisons):
            note_undecided(journal, key_of(study, repeats), repeats)
            _print_lines(study, [line])
            return None
        return write_results(study, facts, repeats, comparisons, journal)

    return run_repeats(
        study,
        command="compare",
        pick=pick,
        conclude=conclude,
        title=f"{study.name}: compare",
        patience=patience,
    )


@interruptible()
def run_until_decided(study: StudyConfig, *, patience: float = TRACKER_PATIENCE_SECS) -> ComparisonDocument:
    """Race the contenders block by block, confirm the survivor on fresh blocks, judge these and write the results.

    The race uses validation accuracies, the confirmation uses the test set.

    Args:
        study: The study.
        patience: Maximum wait for MLflow at the end, in seconds.

    Returns:
        The record of the comparison; its verdicts are based on the fresh blocks.

    Raises:
        HybridSearchError: The comparison cannot run or continue; finished repeats are saved.
    """
    check_race(study)
    print_step(f"{study.name}: checking the study and its data")
    checked = check_study(
        study, "compare", num_confirm=study.compare.num_confirm, on_progress=counter("decoding images")
    )
    facts = checked.facts
    with open_runner(study, facts) as run, open_session(study, facts, "compare", patience) as journal:
        records = list(journal.records.values())
        _print_lines(study, unfinished_sweep(study, records, journal.marks))
        contenders = pick_contenders(study, records)
        rounds = Rounds(
            study=study,
            facts=facts,
            journal=journal,
            contenders=contenders,
            families=declare_families(study, contenders),
        )
        _print_lines(study, rounds.warnings)
        rounds.record_start()
        race = rounds.race()
        _print_lines(study, still_in(race))
        while race.running:
            repeats = _train(run, partial(rounds.next_round, race), title=partial(race_title, study, race))
            rounds.check(repeats)
            before, race = race, rounds.race()
            _print_lines(study, news(before, race))
        survivor = rounds.survivor(race)
        title = f"{study.name}: confirm {survivor} on fresh repeats"
        confirmed = _train(run, partial(rounds.confirmation, survivor), title=lambda _: title)
        families = rounds.claims(survivor)
        document = write_results(
            study,
            facts,
            confirmed,
            judge_repeats(study, facts, confirmed, families),
            journal,
            families=families,
            race=rounds.to_record(race, survivor),
        )
        _check_repeats(study, confirmed.wanted_records)
        return document


def _print_lines(study: StudyConfig, lines: Iterable[str]) -> None:
    for line in lines:
        print_line(f"{study.name}: {line}")


def _train(
    run: Callable[[Dispatcher], None], make: Callable[[Callable[[], None]], Repeats], *, title: Callable[[Repeats], str]
) -> Repeats:
    """Train the missing repeats and show the progress."""
    shown = Shown()
    repeats = make(lambda: shown.update())
    with Display(
        title=title(repeats),
        noun="repeats",
        num_planned=lambda: repeats.num_planned,
        records=lambda: repeats.wanted_records,
    ) as display:
        shown.update = display.update
        run(repeats)
    repeats.wait_for_files()
    return repeats


@interruptible()
def run_repeats(
    study: StudyConfig,
    *,
    pick: Callable[[Journal], Sequence[Contender]],
    conclude: Callable[[DataFacts, Repeats, Journal], Document | None],
    title: str,
    command: Literal["compare", "reproduce"] = "reproduce",
    patience: float = TRACKER_PATIENCE_SECS,
) -> Document:
    """Train the missing repeats of some points on the declared number of shared blocks, and write the results.

    Args:
        study: The study that records the repeats.
        pick: Returns the contenders to train, from the open journal.
        conclude: Writes the results and returns their document; None at an interim analysis, to train on.
        title: Title of the progress display.
        command: The command whose requirements are checked first.
        patience: Maximum wait for MLflow at the end, in seconds.

    Returns:
        The document.
    """
    print_step(f"{study.name}: checking the study and its data")
    facts = check_study(study, command, on_progress=counter("decoding images")).facts
    with open_runner(study, facts) as run, open_session(study, facts, "compare", patience) as journal:
        contenders = pick(journal)

        def make(num_blocks: int, on_change: Callable[[], None]) -> Repeats:
            return Repeats(
                study=study,
                facts=facts,
                journal=journal,
                contenders=contenders,
                num_blocks=num_blocks,
                on_change=on_change,
            )

        document = None
        declared = study.compare.analysed_after if command == "compare" else (study.compare.repeats,)
        for num_blocks in declared:
            repeats = _train(run, partial(make, num_blocks), title=lambda _: title)
            document = conclude(facts, repeats, journal)
            _check_repeats(study, repeats.wanted_records)
            if document is not None:
                break
        assert document is not None, "the last analysis concludes"
        return document


def _check_repeats(study: StudyConfig, records: list[TrialRecord]) -> None:
    failed = [record for record in records if isinstance(record.outcome, Failed)]
    if len(failed) > study.search.max_failed_fraction * len(records):
        raise TooManyFailuresError(
            f"{len(failed)} of {len(records)} repeats failed:",
            *(f"  {record.label}: {record.outcome.reason}" for record in failed if isinstance(record.outcome, Failed)),
        )
