"""Train a race block by block until every declared pair is decided, then confirm the survivor on fresh blocks.

The race uses validation accuracies only. Fresh blocks share their test images with the raced blocks, so test accuracies
that selected the survivor could not confirm it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.compare.contenders import Contender
from search.compare.race import (
    PRIOR,
    Decided,
    Race,
    RacedPair,
    Undecided,
    fewest_blocks,
    first_possible,
    num_won,
    run_race,
    survivor_of,
)
from search.compare.repeats import Repeats, describe_repeat, is_diverged
from search.compare.results import describe_contender, describe_families
from search.errors import InputError, TooManyFailuresError
from search.journal.comparison import PairOfRace, RacedContender, RacedRepeat, RaceRecord
from search.journal.journal import Journal
from search.records import Completed, Failed, TrialRecord
from search.seeds import Block, make_block
from search.study.bind import DataFacts
from search.study.claims import Family
from search.study.config import StudyConfig
from search.text.counted import counted


class Rounds:
    """The rounds of a race.

    The state is derived from the journal's records, so an interrupted race continues where it stopped.

    Args:
        study: The study.
        facts: Properties of the data set.
        journal: The study's open journal.
        contenders: Finalists and baselines; those without a declared pair are left out.
        families: The declared pairs.

    Raises:
        InputError: The allowed number of blocks is too small to decide any pair.
    """

    def __init__(
        self,
        *,
        study: StudyConfig,
        facts: DataFacts,
        journal: Journal,
        contenders: Sequence[Contender],
        families: Sequence[Family],
    ) -> None:
        self._study, self._facts, self._journal = study, facts, journal
        self._contenders = {contender.name: contender for contender in contenders}
        self._families = tuple(families)
        self._keys: dict[tuple[str, int], str] = {}
        self._first = first_possible(families, alpha=study.compare.alpha)
        self.warnings = tuple(self._warnings())
        """One line for each family in which no pair can be decided."""
        if len(self.warnings) == len(self._families):
            raise InputError(*self.warnings)

    def _warnings(self) -> Iterator[str]:
        alpha, cap = self._study.compare.alpha, self._study.compare.repeats
        for family in self._families:
            fewest = fewest_blocks(len(family.pairs) / alpha)
            if fewest > cap:
                of = f" of family {family.name}" if family.name else ""
                yield (
                    f"compare.repeats: {counted(cap, 'repeat')} cannot decide any of "
                    f"{counted(len(family.pairs), 'pair')}{of}, however large the difference; use at least {fewest} "
                    "with --until-decided"
                )

    def record_start(self) -> None:
        """Write a race event to the journal once; it counts as an interim analysis of the blocks."""
        if not any(event["event"] == "race" for event in self._journal.marks):
            self._journal.note("race")

    def race(self) -> Race:
        """Return the state of the race after the recorded repeats."""
        return run_race(
            self._scores(), self._families, alpha=self._study.compare.alpha, cap=self._study.compare.repeats
        )

    def next_round(self, race: Race, on_change: Callable[[], None] = lambda: None) -> Repeats:
        """Return the next repeats to train: the remaining configurations on the next block.

        The first round covers all blocks up to the first possible decision.

        Args:
            race: The current state.
            on_change: Called after each change, for display.
        """
        upto = max(race.length + 1, self._first)
        return self._repeats(race.running, first_block=race.length, num_blocks=upto - race.length, on_change=on_change)

    def check(self, repeats: Repeats) -> None:
        """Check that no repeat was lost to a machine failure, since its retry may change the decisions.

        Raises:
            TooManyFailuresError: Some repeats were lost; the message lists them with their reasons.
        """
        lost = [record for record in repeats.wanted_records if self._score(record) is None]
        if lost:
            raise TooManyFailuresError(
                f"{len(lost)} of {repeats.num_planned} repeats were lost, and the race cannot continue without them; "
                "run the same command again to retry them:",
                *(f"  {item.label}: {item.outcome.reason}" for item in lost if isinstance(item.outcome, Failed)),
            )

    def survivor(self, race: Race) -> str:
        """Return the name of the configuration to confirm."""
        finalists = [name for name, contender in self._contenders.items() if contender.is_finalist]
        return survivor_of(race, self._scores(), finalists)

    def claims(self, survivor: str) -> tuple[Family, ...]:
        """Return the declared pairs of the survivor, including those with dropped configurations."""
        own = (
            Family(name=family.name, pairs=tuple(pair for pair in family.pairs if survivor in pair))
            for family in self._families
        )
        return tuple(family for family in own if family.pairs)

    def confirmation(self, survivor: str, on_change: Callable[[], None] = lambda: None) -> Repeats:
        """Return the repeats of the survivor and of all its opponents on fresh blocks."""
        names = {name for family in self.claims(survivor) for pair in family.pairs for name in pair}
        ordered = [name for name in self._contenders if name in names]
        return self._repeats(ordered, num_blocks=self._study.compare.num_confirm, fresh=True, on_change=on_change)

    def _repeats(
        self,
        names: Sequence[str],
        *,
        num_blocks: int,
        first_block: int = 0,
        fresh: bool = False,
        on_change: Callable[[], None],
    ) -> Repeats:
        return Repeats(
            study=self._study,
            facts=self._facts,
            journal=self._journal,
            contenders=[self._contenders[name] for name in names],
            num_blocks=num_blocks,
            first_block=first_block,
            purpose="confirm" if fresh else "compare",
            on_change=on_change,
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        raced = {name for family in self._families for pair in family.pairs for name in pair}
        return tuple(name for name in self._contenders if name in raced)

    def _scores(self) -> dict[str, NDArray[np.float64]]:
        return {name: self._scores_of(name) for name in self._names}

    def _scores_of(self, name: str) -> NDArray[np.float64]:
        """Return the validation accuracies from the first block up to the first missing one, shape (R,)."""
        found: list[float] = []
        for index in range(self._study.compare.repeats):
            score = self._score(self._record(name, index))
            if score is None:
                break
            found.append(score)
        return np.array(found, dtype=np.float64)

    def _score(self, record: TrialRecord | None) -> float | None:
        """Return the validation accuracy; for a diverged repeat that of the last finite checkpoint, or chance."""
        if record is None or not (isinstance(record.outcome, Completed) or is_diverged(record)):
            return None
        return 1 / len(self._facts.classes) if record.val_accuracy is None else record.val_accuracy

    def _record(self, name: str, index: int) -> TrialRecord | None:
        if (name, index) not in self._keys:
            block = make_block(self._study.seed, "compare", index)
            self._keys[name, index] = describe_repeat(self._study, self._facts, self._contenders[name], block).key
        return self._journal.records.get(self._keys[name, index])

    def to_record(self, race: Race, survivor: str) -> RaceRecord:
        """Return the record of the race, including its sentences."""
        blocks = [make_block(self._study.seed, "compare", index) for index in range(race.length)]
        return RaceRecord(
            alpha=self._study.compare.alpha,
            g=PRIOR,
            estimand="this data set",
            scores="validation accuracy",
            max_blocks=race.cap,
            num_blocks=race.length,
            blocks=tuple(block.name for block in blocks),
            families=describe_families(self._study.compare, self._families),
            pairs=tuple(map(_describe_pair, race.pairs)),
            contenders=tuple(
                self._describe_contender(race, name, blocks[: race.num_blocks[name]]) for name in self._names
            ),
            survivor=survivor,
            sentences=tuple(to_sentences(race, survivor, num_confirm=self._study.compare.num_confirm)),
        )

    def _describe_contender(self, race: Race, name: str, blocks: Sequence[Block]) -> RacedContender:
        """Return a raced configuration without its test accuracies, which the race does not use."""
        runs = [(block, self._record(name, block.index)) for block in blocks]
        found = describe_contender(self._contenders[name], runs)
        return RacedContender(
            name=found.name,
            finalist=found.finalist,
            point=found.point,
            sweep_trial=found.sweep_trial,
            sweep_rank=found.sweep_rank,
            selection_val_accuracy=found.selection_val_accuracy,
            num_diverged=found.num_diverged,
            repeats=tuple(
                RacedRepeat(
                    key=run.key,
                    block=run.block,
                    state=run.state,
                    diverged_in_epoch=run.diverged_in_epoch,
                    val_accuracy=run.val_accuracy,
                )
                for run in found.repeats
            ),
            mean_val_accuracy=float(np.mean(self._scores_of(name)[: len(blocks)])),
            num_blocks=len(blocks),
            num_won=num_won(race, name),
            dropped_after=race.dropped.get(name),
        )


def _describe_pair(pair: RacedPair) -> PairOfRace:
    outcome = pair.outcome
    return PairOfRace(
        family=pair.family,
        a=pair.a,
        b=pair.b,
        outcome=outcome.word,
        after=None if isinstance(outcome, Undecided) else outcome.after,
        winner=outcome.winner if isinstance(outcome, Decided) else None,
        loser=None if isinstance(outcome, Undecided) else outcome.loser,
        needed=pair.needed,
        num_blocks=len(pair.e_values) + 1,
        e_values=tuple(value if math.isfinite(value) else None for value in pair.e_values),
    )


def to_sentences(race: Race, survivor: str, *, num_confirm: int) -> list[str]:
    """Return sentences on when each pair was decided and which configuration is confirmed."""
    return [
        f"Raced on validation accuracy: {counted(race.length, 'repeat')} of at most {race.cap}. E-values refer to "
        "this data set and are valid whenever the race stops.",
        *(describe_pair(pair) for pair in race.pairs),
        f"Survivor: {survivor}, judged on the test images and {counted(num_confirm, 'fresh repeat')}, which the race "
        "did not use:",
    ]


def describe_pair(pair: RacedPair) -> str:
    """Return the state of a pair as text."""
    outcome = pair.outcome
    match outcome:
        case Decided(after=after, winner=winner, loser=loser):
            return (
                f"{winner} beat {loser} after {after} repeats (E = {_number(outcome.e_value)}, "
                f"{_number(outcome.needed)} was needed): {loser} was dropped."
            )
        case Undecided():
            return (
                f"{pair.a} against {pair.b}: undecided after {len(pair.e_values) + 1} repeats (E = "
                f"{_number(pair.e_values[-1])}, {_number(pair.needed)} was needed)."
            )
        case _:
            return (
                f"{pair.a} against {pair.b}: left open after {outcome.after} repeats, because {outcome.loser} was "
                "dropped."
            )


def _number(value: float) -> str:
    return f"{value:.0f}" if 10 <= value < 10_000 else f"{value:.2g}"


def race_title(study: StudyConfig, race: Race, repeats: Repeats) -> str:
    """Return the title of the current round: the block, the maximum, and the number of remaining configurations."""
    first, last = (block.index + 1 for block in (repeats.blocks[0], repeats.blocks[-1]))
    which = f"repeat {first}" if first == last else f"repeats {first} to {last}"
    return f"{study.name}: race, {which} of at most {race.cap}, {counted(len(race.running), 'configuration')} left"


def news(before: Race, after: Race) -> list[str]:
    """Return lines on the pairs that the last round decided and the configurations that remain."""
    closed = [
        describe_pair(new)
        for old, new in zip(before.pairs, after.pairs, strict=True)
        if old.is_open and not new.is_open
    ]
    return [*closed, *(still_in(after) if closed else ())]


def still_in(race: Race) -> list[str]:
    """Return a line on the configurations that need another block; no line when the race is over."""
    return [f"race: remaining: {', '.join(race.running)}"] if race.running else []
