"""Dispatcher of a sweep: proposes trials, stops them early, and resumes them after an interruption."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from search.errors import StudyError, TooManyFailuresError
from search.journal.commands import Answer, Command, answers_in, num_planned
from search.journal.events import MAX_NUMBER
from search.journal.fronts import losses_of
from search.journal.journal import Journal
from search.journal.measures import MEASURES, value_of
from search.journal.summary import best_first, group_failures
from search.records import NOT_KNOWN, Draw, Failed, Infeasible, Stopped, TrialRecord, changed
from search.runners.dispatcher import TRIALS, Dispatcher, new_record
from search.sampling.optuna_storage import place_of, read_old_draws
from search.sampling.sampler import Sampler
from search.sampling.trials import missing_numbers
from search.seeds import make_block
from search.storage.working_copy import ARRAYS
from search.study.bind import DataFacts, bind, complete_point, why_not
from search.study.config import StudyConfig
from search.study.own_model import is_built_in
from search.study.section import PointLike
from search.study.settings import RECIPE_SETTINGS
from search.sweep.front_asha import FrontAsha
from search.sweep.schedulers import make_scheduler
from search.text.counted import counted
from search.text.printable import printable
from search.training.spec import TrialSpec
from spaces.presets import UnknownPreset
from spaces.space import Point, SpaceError

KEEP_WEIGHTS = 3
"""Number of best trials whose weights are kept, or the number of finalists if that is higher."""
MAX_NAME = 60
"""Largest length of the name of an own model's point."""


class Sweep(Dispatcher):
    """The trials of one study.

    Args:
        study: The study.
        facts: Facts about its data.
        journal: Its open journal; the unfinished trials in it are resumed first.
        on_change: Called after each change, for display.
        print_line: Receives lines for the user.

    Attributes:
        space_exhausted: Whether the search space has no new points.
    """

    def __init__(
        self,
        *,
        study: StudyConfig,
        facts: DataFacts,
        journal: Journal,
        on_change: Callable[[], None] = lambda: None,
        print_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        budget = study.search.time_budget_mins
        super().__init__(
            journal=journal,
            folder=study.folder,
            kind="trial",
            deadline=None if budget is None else time.monotonic() + 60 * budget,
            on_change=on_change,
        )
        self._study = study
        self._facts = facts
        self._print_line = print_line
        self._block = make_block(study.seed, "sweep", 0)
        self._import_draws(print_line)
        self._sampler = make_sampler(study, facts, journal)
        self._twins: dict[str, list[int]] = {}
        """Key of a running trial -> numbers of other points with the same training."""
        for draw in journal.draws.values():
            if draw.twin and journal.records[draw.twin].outcome is None:
                self._twins.setdefault(draw.twin, []).append(draw.number)
        self._enqueue_again(print_line)
        self._num_planned = num_planned(study.search.trials, journal.marks)
        self._num_failed = sum(isinstance(record.outcome, Failed) for record in self.records)
        self._scheduler = make_scheduler(study.search, study.train.epochs)
        search = study.search
        self._front = (
            FrontAsha(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=study.train.epochs)
            if search.scheduler == "asha" and len(search.objectives) > 1
            else None
        )
        self.space_exhausted = False
        self._best: list[TrialRecord] = []
        """Completed trials whose weights are kept."""
        self._replay()

    def _import_draws(self, print_line: Callable[[str], None]) -> None:
        """Import the draws without a trial, which a version 1 journal left to Optuna's study, once.

        If that study is missing, their numbers stay reserved, so that later proposals have the same seeds.
        """
        missing = missing_numbers(self.records, self._journal.draws)
        if not missing:
            return
        space, num_lost = self._study.build_space(), 0
        try:
            held = read_old_draws(place_of(self._study), self._study.name, self._journal.id)
        except StudyError:
            held = {}
        for number in missing:
            draw = held.get(number, Draw(number=number, rejected=NOT_KNOWN))
            if not draw.rejected and not draw.twin and draw.point:
                # Its original was still running, so it was not recorded as a twin.
                draw = dataclasses.replace(draw, twin=self._bind(number, dict(space.point(draw.point))).key)
            if not draw.rejected and draw.twin not in self._journal.records:
                draw = Draw(number=number, rejected=NOT_KNOWN)
            num_lost += draw.rejected == NOT_KNOWN
            self._journal.draw(draw)
        if num_lost:
            print_line(
                f"{self._study.name}: {num_lost} of {counted(len(missing), 'rejected draw')} unknown; the numbers "
                "stay reserved, and the next proposals do not change"
            )

    def _enqueue_again(self, print_line: Callable[[str], None]) -> None:
        """Enqueue the points that commands added in earlier starts; the sampler ignores those proposed since."""
        space = self._study.build_space()
        for event in answers_in(self._journal.marks):
            if event["verb"] == "enqueue" and event["done"]:
                try:
                    self._sampler.enqueue(space.point(event["point"]))
                except SpaceError as error:  # without trials, the space may have changed
                    print_line(f"{self._study.name}: an enqueued point is left out: {error.faults[0]}")

    def _replay(self) -> None:
        """Replay the recorded epochs through the scheduler, in recorded order."""
        for key, epoch, _ in self._journal.take_epochs():
            if self._journal.records[key].kind != "trial":
                continue
            record = self._journal.records[key]
            infeasible = self.exceeds_limit(record)
            go_on = infeasible is None and self._passes(record, epoch)
            # The driver was killed between the epoch and the decision, which is the same now.
            if not go_on and record.outcome is None and epoch == len(record.curve):
                self._journal.end(key, infeasible or Stopped(epoch=epoch))
                self._tidy(self._journal.records[key])
                self.on_end(self._journal.records[key])
        self._unfinished = [record for record in self.records if record.outcome is None]
        self._forget_losers(self.records)

    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Return the spec of an unfinished trial again."""
        return self._bind(record.number, dict(record.point))

    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """Return a trial of the sampler's next point, while the budget of trials and failures lasts."""
        while self._journal.num_of_kind("trial") < self._num_planned and not self._too_many_failures:
            asked = self._sampler.ask()
            if asked is None:
                self.space_exhausted = True
                return None
            number, point = asked
            spec = self._bind(number, dict(point))
            if not self._is_twin(number, point, spec.key):
                return spec, new_record(spec, "trial", dict(point))
        return None

    def _is_twin(self, number: int, point: Point, key: str) -> bool:
        """Return whether another point leads to the same training; if so, the sampler receives that trial's outcome."""
        original = self._journal.records.get(key)
        if original is None:
            return False
        self._sampler.record_duplicate(number, point, key)
        if original.outcome is not None:
            self._sampler.tell(number, original.curve, original.outcome, original.counts)
        else:
            self._twins.setdefault(key, []).append(number)
        return True

    def may_continue(self, record: TrialRecord) -> bool:
        """Return the scheduler's decision."""
        return self._passes(record, record.curve[-1].epoch)

    def _passes(self, record: TrialRecord, epoch: int) -> bool:
        """Return whether the scheduler lets a trial continue after an epoch."""
        last = record.curve[epoch - 1]
        if self._front is None:
            return self._scheduler.observe(record.key, epoch, last.val_accuracy)
        if last.val_accuracy is None:
            return True
        so_far = changed(record, {"curve": record.curve[:epoch]})
        return self._front.observe(record.key, epoch, losses_of(so_far, self._study.search.objectives))

    def exceeds_limit(self, record: TrialRecord) -> Infeasible | None:
        """Return the outcome of a trial whose first epoch exceeds a limit, else None."""
        first = changed(record, {"curve": record.curve[:1]})
        for name, limit in self._study.search.limits.items():
            value = value_of(first, name) if MEASURES[name].kind == "cost" else None
            if value is not None and value > limit:
                return Infeasible(measure=name, value=value, limit=limit)
        return None

    def on_end(self, record: TrialRecord) -> None:
        """Report the outcome to the sampler, and delete weights that are no longer needed."""
        if record.outcome is not None:
            self._num_failed += isinstance(record.outcome, Failed)
            self._sampler.tell(record.number, record.curve, record.outcome, record.counts)
            for number in self._twins.pop(record.key, ()):
                self._sampler.tell(number, record.curve, record.outcome, record.counts)
        self._forget_losers([record])

    def _forget_losers(self, ended: Sequence[TrialRecord]) -> None:
        """Delete the weights of all but the best trials; a trial that is not among them never returns."""
        keep = max(KEEP_WEIGHTS, self._study.compare.finalists)
        ranked = best_first([*self._best, *ended])
        self._best = ranked[:keep]
        for loser in ranked[keep:]:
            for path in (self._folder / TRIALS / loser.key).glob("weights-*.safetensors"):
                path.unlink()
            for name in loser.artifacts.values():
                if not name.endswith(ARRAYS):
                    self._journal.copy.drop(name)

    @property
    def _too_many_failures(self) -> bool:
        return self._num_failed > self._study.search.max_failed_fraction * self._num_planned

    def check_failures(self) -> None:
        """Raise if more trials failed than the study allows.

        Raises:
            TooManyFailuresError: With the reasons, grouped and counted.
        """
        if not self._too_many_failures:
            return
        allowed = self._study.search.max_failed_fraction
        raise TooManyFailuresError(
            f"{self._num_failed} of {len(self.records)} trials failed, more than search.max_failed_fraction "
            f"({allowed:g} of {self._num_planned}) allows:",
            *(f"  {count} x {reason}" for reason, count in group_failures(self.records)),
        )

    @property
    def rejected(self) -> Mapping[str, int]:
        """Number of proposals that are not valid models and so became no trials, by reason."""
        return self._sampler.rejected

    @property
    def num_planned(self) -> int:
        """Number of trials after which the sweep ends, with those that `extend` added."""
        return self._num_planned

    def carry_out(self, command: Command) -> Answer | None:
        """Carry out a command from another process."""
        match command:
            case Command(verb="stop", trial=int(number)):
                return self._stop(number)
            case Command(verb="enqueue", point=point) if point is not None:
                return self._enqueue(point if isinstance(point, str) else dict(point))
            case Command(verb="extend", trials=int(num_more)):
                return self._extend(num_more)
            case _:
                return super().carry_out(command)

    def on_answer(self, command: Command, answer: Answer) -> None:
        """Print what was done."""
        self._print_line(f"{self._study.name}: {command.words} (from {command.by}): {answer.words}")

    def _stop(self, number: int) -> Answer:
        record = next((record for record in self.records if record.number == number), None)
        if record is None:
            return Answer(done=False, words=f"no trial has the number {number}")
        is_by_hand = isinstance(record.outcome, Stopped) and record.outcome.by_hand
        if record.outcome is not None and not is_by_hand:
            return Answer(done=False, words=f"trial {number} has ended already: {record.outcome.word}")
        if not is_by_hand:  # else a driver was killed before it could answer
            self.stop_by_hand(record)
        return Answer(done=True, words=f"trial {number} is stopped after {counted(len(record.curve), 'epoch')}")

    def _enqueue(self, like: PointLike) -> Answer:
        try:
            point = self._study.build_space().point(complete_point(self._study, like))
        except (SpaceError, UnknownPreset) as error:
            return Answer(done=False, words="; ".join(str(error).splitlines()))
        if why := why_not(self._study, point, self._facts):
            return Answer(done=False, words=f"no valid model: {why}")
        key = self._bind(0, dict(point)).key
        if key in self._journal.records:
            return Answer(done=False, words=f"{self._journal.records[key].label} is the same training")
        if self._sampler.is_enqueued(point):
            return Answer(done=False, words="the point is enqueued already")
        self._sampler.enqueue(point)
        words = "it is the next new trial, after those enqueued before it"
        if self._journal.num_of_kind("trial") >= self._num_planned:
            words = "enqueued, but all planned trials have started; add one: `hybrid-search extend STUDY --trials 1`"
        return Answer(done=True, words=words, fields={"point": dict(point)})

    def _extend(self, num_more: int) -> Answer:
        total = self._num_planned + num_more
        if total >= MAX_NUMBER:
            return Answer(done=False, words=f"a study has fewer than {MAX_NUMBER:,} trials, this would be {total:,}")
        if self.space_exhausted:
            return Answer(done=False, words="the space has no further points")
        words = f"{total:,} trials instead of {self._num_planned:,}"
        size = self._study.build_space().size
        if size is not None and size < total:
            words += f"; the space has {counted(size, 'point')}, and the sweep ends after the last one"
        self._num_planned = total
        return Answer(done=True, words=words, fields={"total": total})

    @property
    def finished(self) -> bool:
        """Whether all planned trials have an outcome, or nothing new can be proposed."""
        over = sum(record.outcome is not None for record in self.records)
        return over >= self._num_planned or (self.space_exhausted and over == len(self.records))

    def _bind(self, number: int, point: dict[str, bool | int | float | str]) -> TrialSpec:
        search = self._study.search
        spec = bind(
            self._study,
            point,
            self._facts,
            (self._block,),
            number=number,
            label=f"trial {number}: {describe_in(self._study, point)}",
        )
        is_timed = "latency_ms" in {*search.objectives, *search.limits}
        return dataclasses.replace(spec, times_latency=True) if is_timed else spec


def make_sampler(study: StudyConfig, facts: DataFacts, journal: Journal) -> Sampler:
    """Return the sampler of a study in the state of its journal.

    Args:
        study: The study.
        facts: Facts about its data.
        journal: Its open journal, which records the sampler's draws.

    Raises:
        StudyError: An enqueued preset is not a point of the search space.
    """
    space = study.build_space()
    first = []
    for position, like in enumerate(study.search.enqueue):
        try:
            first.append(space.point(complete_point(study, like)))
        except SpaceError as error:
            raise StudyError(*(f"search.enqueue.{position} ({like}): {fault}" for fault in error.faults)) from None
    return Sampler(
        space=space,
        seed=study.seed,
        method=study.search.sampler,
        startup_trials=study.search.startup_trials,
        arguments=study.search.sampler_args,
        objectives=study.search.objectives,
        first=first,
        why_not=lambda point: why_not(study, point, facts),
        records={record.key: record for record in journal.of_kind("trial")},
        draws=journal.draws,
        note=journal.draw,
    )


def describe_in(study: StudyConfig, point: Mapping[str, bool | int | float | str]) -> str:
    """Return a short name of a point of a study: of an own model, the parameters that vary and are not the recipe's."""
    if is_built_in(study, point):
        return describe(point)
    free = study.build_space().free
    names = [name for name in point if name in free and name not in RECIPE_SETTINGS]
    words = ", ".join(f"{name} {_short(point[name])}" for name in names)
    factory = str(study.model["factory"])
    return printable(words if len(words) <= MAX_NAME else f"{words[:MAX_NAME]}...") or factory


def _short(value: bool | int | float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def describe(point: Mapping[str, bool | int | float | str]) -> str:
    """Return a short name of an architecture, the paper's if it has one.

    >>> describe({"family": "hybrid", "backbone": "cnn4", "rnn": "lstm", "nodes": 16, "depth": 2, "enc_on": True})
    'ecrnn lstm 16-16'
    >>> describe({"family": "resnet18"})
    'resnet18'
    """
    family, rnn, backbone = (point.get(name) for name in ("family", "rnn", "backbone"))
    if family not in (None, "hybrid"):
        return str(family)
    cell = "" if rnn in (None, "none") else f"{rnn} {'-'.join([str(point.get('nodes'))] * int(point.get('depth', 1)))}"
    if backbone in (None, "cnn4") and point.get("merge", "serial") == "serial":
        if not cell:
            return "cnn + encoder-decoder" if point.get("enc_on") else "cnn"
        return f"{'ecrnn' if point.get('enc_on') else 'crnn'} {cell}"
    parts = (
        "" if backbone in (None, "none") else f"{backbone}{point.get('n_conv', '')}",
        "encoder-decoder" if point.get("enc_on") else "",
        f"{cell} {point['merge']}" if cell and point.get("merge", "serial") != "serial" else cell,
    )
    return " + ".join(part for part in parts if part)
