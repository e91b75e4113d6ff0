"""Dispatcher of a sweep: proposes trials, stops them early, and resumes them after an interruption."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from search.errors import TooManyFailuresError
from search.journal.budgets import decide_end, over_trial_budget, sweep_end
from search.journal.commands import Answer, Command, num_planned
from search.journal.earlier import Earlier
from search.journal.events import MAX_NUMBER
from search.journal.fronts import losses_of
from search.journal.journal import Journal
from search.journal.summary import best_first, group_failures
from search.records import (
    EpochMetrics,
    Failed,
    Infeasible,
    Stopped,
    TrialRecord,
    changed,
    scores_by_epoch,
)
from search.runners.dispatcher import TRIALS, Dispatcher, new_record
from search.storage.working_copy import ARRAYS
from search.study.bind import DataFacts, bind, complete_point, sweep_blocks, why_not
from search.study.config import StudyConfig
from search.study.draws import MAX_DRAWS
from search.study.goals import over_cost
from search.study.learning import take_earlier
from search.study.section import PointLike
from search.sweep.front_asha import FrontAsha
from search.sweep.keeping import keep_best
from search.sweep.names import describe_in
from search.sweep.old_draws import import_draws
from search.sweep.promotion import PromotionAsha
from search.sweep.proposals import make_sampler
from search.sweep.schedulers import make_scheduler
from search.text.counted import counted
from search.training.spec import TrialSpec
from spaces.presets import UnknownPreset
from spaces.space import Point, SpaceError


class Sweep(Dispatcher):
    """The trials of one study.

    Args:
        study: The study.
        facts: Facts about its data.
        journal: Its open journal; the unfinished trials in it are resumed first.
        allow_other: Whether `search.learn_from` may name studies with other data or another recipe.
        on_change: Called after each change, for display.
        print_line: Receives lines for the user.

    Attributes:
        space_exhausted: Whether the search space has no new points.
        ended_by: Why no new trial begins although more are planned, in words; None if one may begin.
    """

    def __init__(
        self,
        *,
        study: StudyConfig,
        facts: DataFacts,
        journal: Journal,
        allow_other: bool = False,
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
        self._blocks = sweep_blocks(study)
        if line := import_draws(study, journal, lambda number, point: self._bind(number, point).key):
            print_line(line)
        self._earlier = self._take_earlier(allow_other)
        self._sampler = make_sampler(study, facts, journal, self._earlier, print_line)
        self._twins: dict[str, list[int]] = {}
        """Key of a running trial -> numbers of other points with the same training."""
        for draw in journal.draws.values():
            if draw.twin and journal.records[draw.twin].outcome is None:
                self._twins.setdefault(draw.twin, []).append(draw.number)
        self._num_planned = num_planned(study.search.trials, journal.marks)
        self._num_failed = sum(isinstance(record.outcome, Failed) for record in self.records)
        self._scheduler = make_scheduler(study.search, study.train.epochs, study.train.validate_every)
        self._promotion = self._scheduler if isinstance(self._scheduler, PromotionAsha) else None
        search = study.search
        self._front = (
            FrontAsha(grace_epochs=search.grace_epochs, reduction=search.reduction, max_epochs=study.train.epochs)
            if search.scheduler == "asha" and len(search.objectives) > 1
            else None
        )
        self.space_exhausted = False
        self.ended_by = sweep_end(journal.marks, search.budgets)
        self._best: list[TrialRecord] = []
        """Completed trials whose weights are kept."""
        self._replay()

    def _take_earlier(self, allow_other: bool) -> Earlier:
        """Return what the sweep takes from earlier studies, and write it to the journal before the first proposal."""
        marks, has_trials = self._journal.marks, self._journal.num_of_kind("trial") > 0
        earlier, is_new = take_earlier(
            self._study, self._facts, marks=marks, allow_other=allow_other, has_trials=has_trials
        )
        if is_new:
            self._journal.note("earlier", **earlier.to_fields())
            for line in earlier.lines:
                self._print_line(f"{self._study.name}: {line}")
        return earlier

    def _replay(self) -> None:
        """Replay the recorded epochs, promotions and ends through the scheduler, in recorded order."""
        for event, key, epoch in self._journal.take_steps():
            record = self._journal.records[key]
            if record.kind != "trial":
                continue
            if event != "epoch":
                if self._promotion is not None and event != "pause":
                    self._promotion.leave(key)
                continue
            infeasible = self.exceeds_limit(changed(record, {"curve": record.curve[:epoch]}))
            go_on = infeasible is None and self._passes(record, epoch)
            if record.outcome is not None or epoch < len(record.curve):
                continue
            # The driver was killed between the epoch and the decision, which is the same now.
            is_paused = not go_on and infeasible is None and self._promotion is not None
            over = self.over_budget(record) if go_on or is_paused else ""
            if (not go_on and not is_paused) or over:
                self._journal.end(key, infeasible or Stopped(epoch=epoch, reason=over))
                self._tidy(self._journal.records[key])
                self.on_end(self._journal.records[key])
        for record in self.records:
            if record.outcome is None and not record.is_waiting and self._is_paused(record.key):
                self._journal.pause(record.key)
        self._unfinished = [record for record in self.records if record.outcome is None and not record.is_waiting]
        self._forget_losers(self.records)

    def rebuild(self, record: TrialRecord) -> TrialSpec:
        """Return the spec of an unfinished trial again."""
        return self._bind(record.number, dict(record.point))

    def propose(self) -> tuple[TrialSpec, TrialRecord] | None:
        """Return a trial of the sampler's next point, while the budgets last."""
        while self._may_begin():
            asked = self._sampler.ask()
            if asked is None:
                self.space_exhausted = True
                return None
            number, point = asked
            spec = self._bind(number, dict(point))
            if not self._is_twin(number, point, spec.key):
                return spec, new_record(spec, "trial", dict(point))
        return None

    def _may_begin(self) -> bool:
        """Return whether a new trial may begin. The first time that a budget does not allow it is in the journal."""
        if self.ended_by or self._too_many_failures or self._journal.num_of_kind("trial") >= self._num_planned:
            return False
        search = self._study.search
        if not search.budgets:
            return True
        decision = decide_end(
            self._journal.ended_of_kind("trial"),
            self.records,
            search.budgets,
            objectives=search.objectives,
            gpus=self._study.resources.gpus,
        )
        if decision is not None:
            self._journal.note("sweep_end", **decision)
            self.ended_by = decision["words"]
        return decision is None

    def over_budget(self, record: TrialRecord) -> str:
        """Return why `search.trial_budget_mins` lets a trial have no further epoch; empty if it does."""
        return over_trial_budget(record, self._study.search.trial_budget_mins, self._study.train.epochs)

    def _is_twin(self, number: int, point: Point, key: str) -> bool:
        """Return whether another point leads to the same training; if so, the sampler receives that trial's outcome."""
        original = self._journal.records.get(key)
        if original is None:
            return False
        self._sampler.record_duplicate(number, point, key)
        if original.outcome is not None:
            self._sampler.tell(number, original.curve, original.outcome, original.counts)
        else:
            self._sampler.observe(number, original.curve)
            self._twins.setdefault(key, []).append(number)
        return True

    def may_continue(self, record: TrialRecord) -> bool:
        """Return the scheduler's decision; the sampler receives the epoch."""
        for number in (record.number, *self._twins.get(record.key, ())):
            self._sampler.observe(number, record.curve)
        return self._passes(record, record.curve[-1].epoch)

    def _is_paused(self, key: str) -> bool:
        return self._promotion is not None and self._promotion.is_waiting(key)

    def pause_after(self, record: TrialRecord) -> int | None:
        """Return the scheduler's next rung for a trial; None with a scheduler that pauses no trial."""
        return None if self._promotion is None else self._promotion.pause_after(len(record.curve))

    def promote(self, *, is_last: bool = False) -> TrialRecord | None:
        """Return the waiting trial that is resumed now, if any; once no trial can follow, the waiting ones are stopped.

        Args:
            is_last: Whether no new trial can begin.
        """
        if self._promotion is None or self._too_many_failures:
            return None
        if is_last and any(record.outcome is None and not record.is_waiting for record in self.records):
            return None
        key = self._promotion.next_promotion(is_last=is_last)
        if key is not None:
            return self._journal.records[key]
        for record in self.records if is_last else ():
            if record.is_waiting:
                self._end(record.key, Stopped(epoch=len(record.curve)))
        return None

    def _passes(self, record: TrialRecord, epoch: int) -> bool:
        """Return whether the scheduler lets a trial continue after an epoch."""
        last = record.curve[epoch - 1]
        if self._front is None:
            return self._scheduler.observe(record.key, epoch, self._score_after(record, last))
        if last.val_accuracy is None:
            return True
        so_far = changed(record, {"curve": record.curve[:epoch]})
        return self._front.observe(record.key, epoch, losses_of(so_far, self._study.search.objectives))

    def _score_after(self, record: TrialRecord, last: EpochMetrics) -> float | None:
        """Return the score of a trial after an epoch; None if the epoch was not validated."""
        if record.keep == "last" or last.val_accuracy is None:
            return last.val_accuracy
        return scores_by_epoch(record.curve[: last.epoch], record.keep)[last.epoch]

    def exceeds_limit(self, record: TrialRecord) -> Infeasible | None:
        """Return the outcome of a trial whose first epoch exceeds a limit, else None."""
        return over_cost(record.curve, self._study.search.limits)

    def on_end(self, record: TrialRecord) -> None:
        """Report the outcome to the sampler, and delete weights that are no longer needed."""
        if self._promotion is not None:
            self._promotion.leave(record.key)
        if record.outcome is not None:
            self._num_failed += isinstance(record.outcome, Failed)
            self._sampler.tell(record.number, record.curve, record.outcome, record.counts)
            for number in self._twins.pop(record.key, ()):
                self._sampler.tell(number, record.curve, record.outcome, record.counts)
        self._forget_losers([record])

    def _forget_losers(self, ended: Sequence[TrialRecord]) -> None:
        """Delete the weights of all but the best trials; a trial that is not among them never returns.

        With several objectives the trials of the Pareto front are among them.
        """
        if self._study.search.keep_checkpoints == "all":
            return
        ranked = best_first([*self._best, *ended])
        self._best = list(keep_best(self._study, ranked))
        kept = {record.key for record in self._best}
        for loser in (record for record in ranked if record.key not in kept):
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
        self.space_exhausted = False
        words = "it is the next new trial, after those enqueued before it"
        if self.ended_by:
            words = f"enqueued, but no new trial begins: {self.ended_by}"
        elif self._journal.num_of_kind("trial") >= self._num_planned:
            words = "enqueued, but all planned trials have started; add one: `hybrid-search extend STUDY --trials 1`"
        return Answer(done=True, words=words, fields={"point": dict(point)})

    def _extend(self, num_more: int) -> Answer:
        total = self._num_planned + num_more
        if total >= MAX_NUMBER:
            return Answer(done=False, words=f"a study has fewer than {MAX_NUMBER:,} trials, this would be {total:,}")
        if self.ended_by:
            return Answer(
                done=False, words=f"no new trial begins: {self.ended_by}; raise it in the study file, then sweep"
            )
        if self.space_exhausted:
            return Answer(done=False, words=self.why_exhausted)
        words = f"{total:,} trials instead of {self._num_planned:,}"
        size = self._study.build_space().size
        if size is not None and size < total:
            words += f"; the space has {counted(size, 'point')}, and the sweep ends after the last one"
        self._num_planned = total
        return Answer(done=True, words=words, fields={"total": total})

    @property
    def why_exhausted(self) -> str:
        """Why nothing new can be proposed, in words."""
        if self._study.build_space().size is not None:
            return "the space has no further points"
        mend = "raise search.limits" if self._study.search.limits else "fix fewer parameters"
        return f"no feasible point in {MAX_DRAWS:,} draws; {mend}"

    @property
    def finished(self) -> bool:
        """Whether all planned trials have an outcome, or no new one can begin."""
        over = sum(record.outcome is not None for record in self.records)
        return over >= self._num_planned or (bool(self.space_exhausted or self.ended_by) and over == len(self.records))

    def _bind(self, number: int, point: dict[str, bool | int | float | str]) -> TrialSpec:
        search = self._study.search
        spec = bind(
            self._study,
            point,
            self._facts,
            self._blocks,
            number=number,
            label=f"trial {number}: {describe_in(self._study, point)}",
        )
        is_timed = "latency_ms" in {*search.objectives, *search.limits}
        return dataclasses.replace(spec, times_latency=True) if is_timed else spec
