"""Try a sampler on made-up results before a sweep starts: does it run, and is its whole state in the journal?"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from search.errors import InputError, StudyError
from search.journal.earlier import EarlierTrial
from search.journal.events import parse_line
from search.journal.measures import MEASURES
from search.journal.reading import draw_of
from search.records import Completed, Draw, EpochMetrics, Failed, Infeasible, Outcome, Stopped, TrialRecord, changed
from search.sampling.sampler import Sampler
from search.seeds import derive
from search.study.config import StudyConfig
from search.study.goals import COUNTS
from search.study.samplers import is_class, package_faults
from spaces.space import Point

NUM_ASKS = 20
REBUILT_AT = 10
MOST_IN_GENERATION = 5
NUM_RUNNING = 2
"""Number of trials that run while a point is proposed."""


def check_sampler(study: StudyConfig, earlier: Sequence[EarlierTrial] = ()) -> None:
    """Check that the sampler's package is installed, and try a class of the user's and arguments.

    20 points are proposed, the last 10 of them also by a sampler that is rebuilt from the journal's data.

    Args:
        study: The study.
        earlier: Trials of earlier studies, from which the sampler learns.

    Raises:
        StudyError: The sampler cannot be loaded, raises, or proposes other points after it is rebuilt.
    """
    search = study.search
    if faults := list(package_faults(search.sampler)):
        raise StudyError(*faults)
    if is_class(search.sampler):
        from search.sampling.methods import has_generations, load_class

        if has_generations(load_class(search.sampler)) and search.scheduler != "none":
            raise StudyError(
                f"search.sampler: {search.sampler} makes generations of completed trials and ignores those that "
                f"search.scheduler {search.scheduler} stops; set search.scheduler to none, or search.sampler to nsga2"
            )
    elif not search.sampler_args:
        return
    sweep = _Rehearsal(study, earlier)
    sweep.open()
    sweep.propose(REBUILT_AT)
    rebuilt = sweep.copied()
    sweep.propose(NUM_ASKS - REBUILT_AT)
    rebuilt.open()
    rebuilt.propose(NUM_ASKS - REBUILT_AT)
    for position, (one, other) in enumerate(zip(sweep.points, rebuilt.points, strict=True)):
        if one != other:
            raise StudyError(
                f"search.sampler: {search.sampler} proposes another point {position} after it is rebuilt from the "
                "journal, so a resumed sweep would differ; expected its state in the attributes of trials and of the "
                "study, and its random numbers from an argument `seed`"
            )


class _Rehearsal:
    """A sweep whose results are made up, with the memory that a journal would have."""

    def __init__(self, study: StudyConfig, earlier: Sequence[EarlierTrial]) -> None:
        self._study = study
        self._earlier = earlier
        self._space = study.build_space()
        self._records: dict[str, TrialRecord] = {}
        self._draws: dict[int, Draw] = {}
        self._running: list[str] = []
        self.points: list[Point | None] = []
        """Proposed points; None where the space has no more."""

    def copied(self) -> _Rehearsal:
        """Return a copy of the memory, without a sampler."""
        other = _Rehearsal(self._study, self._earlier)
        other._records, other._draws = dict(self._records), copy.deepcopy(self._draws)
        other._running, other.points = list(self._running), list(self.points)
        return other

    def open(self) -> None:
        """Make the sampler from the memory."""
        search = self._study.search
        self._sampler = Sampler(
            space=self._space,
            seed=self._study.seed,
            method=search.sampler,
            startup_trials=min(search.startup_trials, REBUILT_AT // 2),
            arguments=_of_small_generations(search.sampler, search.sampler_args),
            objectives=search.objectives,
            limits=search.limits,
            rungs=search.rungs(self._study.train.epochs),
            has_pauses=search.scheduler == "asha-promote",
            earlier=self._earlier,
            records=self._records,
            draws=self._draws,
            note=self._note,
        )

    def propose(self, num: int) -> None:
        """Propose points, and end the oldest trial once enough are running."""
        for _ in range(num):
            try:
                asked = self._sampler.ask()
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001  a class of the user's may raise anything
                raise StudyError(
                    f"search.sampler: {self._study.search.sampler} cannot propose point {len(self.points)} "
                    f"({type(error).__name__}: {error}); check search.sampler and search.sampler_args"
                ) from None
            self.points.append(None if asked is None else asked[1])
            if asked is not None:
                self._begin(*asked)
            if len(self._running) > NUM_RUNNING:
                self._end(self._running.pop(0))

    def _begin(self, number: int, point: Point) -> None:
        key = f"{number:016x}"
        self._running.append(key)
        self._records[key] = TrialRecord(
            key=key,
            number=number,
            label="",
            kind="trial",
            point=dict(point),
            blocks=(),
            curve=(),
            outcome=None,
            started_at=0.0,
            finished_at=None,
            node="",
        )

    def _end(self, key: str) -> None:
        record = self._records[key]
        digest = self._space.point(record.point).digest
        value, cost = derive("rehearsal", digest) / 2**63, derive("rehearsal cost", digest) / 2**63
        counts = dict.fromkeys(COUNTS, 1 + round(1e6 * cost))
        curve = tuple(_epoch(epoch, value * epoch / 2, cost) for epoch in (1, 2))
        outcomes: tuple[Outcome, ...] = (
            Completed(),
            Completed(),
            Stopped(epoch=2),
            Completed(),
            Failed(reason="made up"),
            *(
                Infeasible(measure=name, value=2 * limit, limit=limit)
                for name, limit in self._study.search.limits.items()
                if MEASURES[name].kind == "cost"
            ),
        )
        outcome = outcomes[record.number % len(outcomes)]
        self._sampler.tell(record.number, curve, outcome, counts)
        ended = {"curve": curve, "outcome": outcome, "counts": counts, "finished_at": 0.0}
        self._records[key] = changed(record, ended)

    def _note(self, draw: Draw) -> None:
        """Keep a draw as the journal does: as a line of JSON."""
        fields = {name: value for name, value in dataclasses.asdict(draw).items() if value}
        line = json.dumps({**fields, "event": "draw", "at": 0.0, "number": draw.number}, allow_nan=False)
        try:
            event = parse_line(line.encode(), "draw")
        except InputError as error:
            raise StudyError(
                f"search.sampler: {self._study.search.sampler} stores data that the journal cannot keep ({error})"
            ) from None
        assert event is not None
        self._draws[draw.number] = draw_of(event)


def _of_small_generations(sampler: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments with generations that end within the rehearsal, so that genetic algorithms use results."""
    if sampler not in {"nsga2", "nsga3"}:
        return arguments
    return {
        **arguments,
        "population_size": min(arguments.get("population_size", MOST_IN_GENERATION), MOST_IN_GENERATION),
    }


def _epoch(epoch: int, val_accuracy: float, cost: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=0.5,
        val_loss=1.0,
        val_accuracy=val_accuracy,
        learning_rate=0.1,
        elapsed_secs=1 + cost,
        num_images=1,
        val_balanced_accuracy=val_accuracy,
        val_macro_f1=val_accuracy,
        val_auroc=val_accuracy,
        peak_memory_gib=1 + cost,
        latency_ms=1 + cost,
    )
