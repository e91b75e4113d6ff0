"""The `plan` command: checks a study and estimates its cost and power. Trains nothing."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from search.commands.timing import EpochTimer
from search.compare.power import Assumptions, PowerEstimate, estimate_power
from search.compare.power import to_lines as foresight_lines
from search.console.messages import warn
from search.runners.checks import check_study
from search.seeds import make_block
from search.study.bind import DataFacts, bind, describe_rejected, why_not
from search.study.claims import describe_claims
from search.study.config import StudyConfig
from search.study.draws import NUM_DRAWS, random_points
from search.study.goals import count
from search.study.tracking_place import tracking_place
from search.sweep.names import describe_in
from search.text.counted import counted
from search.training.spec import Step, TrialSpec
from spaces.space import Point, Space

NUM_SAMPLES = 40
"""Number of valid points that are sampled to represent the space."""
NUM_TIMED = 5
"""Number of sampled points that are timed for one step each."""
MOST_REJECTED = 0.9
"""Fraction of random points above a limit, from which on a warning is given."""
BYTES_PER_PARAMETER = 16
"""float32 weight, gradient and Adam's two moments."""
CHECKPOINT_BYTES_PER_PARAMETER = 12
"""The same without the gradient."""
BEST_BYTES_PER_PARAMETER = 4
"""The weights of the best epoch so far, which a checkpoint holds with `train.keep: best`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Size, cost and power of a sweep and its comparison, as estimated before training."""

    study: str
    folder: str
    tracking: str
    space_size: int | None
    """Number of points; None if a parameter is continuous."""
    free: tuple[str, ...]
    """Parameters that vary."""
    num_drawn: int
    rejected: dict[str, int]
    """Number of drawn points that are not valid models, by reason; the sweep rejects them before training."""
    num_sampled: int
    """Number of sampled models that the following estimates are based on."""
    parameters: tuple[int, int, int]
    """Smallest, median and largest number of trained parameters among the sampled points."""
    sequential_steps: tuple[int, int, int] | None
    """The same of the sequential steps; None for an own model, whose steps are unknown."""
    memory_gib: float
    """Memory of the largest sampled model and its optimizer, once per block, GiB, without activations."""
    num_train: int
    num_val: int
    num_test: int
    data_notes: tuple[str, ...]
    """Notes on how the image folders were read."""
    trials: int
    blocks: int
    """Number of blocks that each trial trains on; included in all estimates of the sweep."""
    epochs: int
    secs_per_epoch: tuple[float, float, float]
    """Fastest, median and slowest timed point on this machine's CPU, one thread."""
    sweep_hours: tuple[float, float]
    """Trial-hours on this machine's CPU if every trial is stopped after its first epoch, and if none is stopped."""
    compare_hours: float
    """Trial-hours of the comparison at the median speed."""
    claims: str
    """The declared comparisons and their claim, in words."""
    budgets: tuple[str, ...]
    """What ends a trial or the sweep early, one line each."""
    earlier: tuple[str, ...]
    """What the sweep takes from earlier studies, one line each."""
    warnings: tuple[str, ...]
    """Warnings about the study, one line each; printed before the plan."""
    foresight: PowerEstimate
    """Repeats needed for a target difference, and the difference that the declared repeats can detect."""
    waiting_gib: float
    """Disk space of the checkpoints if all trials wait for their promotion, GiB; 0 with a scheduler without pauses."""


def make_plan(
    study: StudyConfig,
    stated: Assumptions | None = None,
    timer: EpochTimer | None = None,
    *,
    allow_other: bool = False,
) -> Plan:
    """Check a study, and estimate its cost and the power of its comparison.

    Args:
        study: The study.
        stated: The target difference, and assumptions about the variances.
        timer: Times the training steps; the sooner it is made, the sooner it is ready. None makes one.
        allow_other: Whether `search.learn_from` may name studies with other data or another recipe.

    Returns:
        The plan.

    Raises:
        InputError: Any fault that would stop the sweep or the comparison.
    """
    from search.runners.session import open_runner
    from search.uris import redacted

    with timer or EpochTimer() as timer:
        checked = check_study(study, "plan", allow_other=allow_other)
        data, facts = checked.data, checked.facts
        if study.resources.runner == "ray" and study.resources.address is not None:
            with open_runner(study, facts):  # joining the cluster checks its token, versions and nodes
                pass
        place = tracking_place(study)
        block = make_block(study.seed, "sweep", 0)
        train_rows, val_rows = data.divide(study.split, block.split_seed)
        space = study.build_space()
        specs, rejected = _sample(study, space, facts)
        tight = list(_tight_limits(study, rejected))
        for line in tight:
            warn(line)
        # An own model that raises for some of the points has no counts there; those trials will fail.
        known = [(spec, found) for spec in specs if "num_parameters" in (found := count(spec.model))]
        specs = [spec for spec, _ in known]
        counts = [found["num_parameters"] for _, found in known]
        steps = [found.get("sequential_steps", 0) for _, found in known]
        by_cost = sorted(range(len(specs)), key=lambda index: (steps[index], counts[index]))
        picks = sorted({by_cost[round(i * (len(by_cost) - 1) / max(1, NUM_TIMED - 1))] for i in range(NUM_TIMED)})
        timer.start([Step.of(specs[index]) for index in picks], len(train_rows))
        foresight = estimate_power(study, facts.num_test, stated or Assumptions())
        secs = sorted(timer.secs())
    median = statistics.median(secs)
    num_trainings = study.search.trials * study.search.blocks
    num_configs = study.compare.finalists + len(study.compare.baselines)
    return Plan(
        study=study.name,
        folder=str(study.location),
        tracking=redacted(place.uri) if place else "off",
        space_size=space.size,
        free=tuple(space.free),
        num_drawn=NUM_DRAWS,
        rejected=rejected,
        num_sampled=len(specs),
        parameters=_spread(counts),
        sequential_steps=None if study.is_own else _spread(steps),
        memory_gib=study.search.blocks * max(counts) * BYTES_PER_PARAMETER / 2**30,
        num_train=len(train_rows),
        num_val=len(val_rows),
        num_test=facts.num_test,
        data_notes=data.notes,
        trials=study.search.trials,
        blocks=study.search.blocks,
        epochs=study.train.epochs,
        secs_per_epoch=(secs[0], median, secs[-1]),
        sweep_hours=(
            num_trainings * median * min(study.search.grace_epochs, study.train.epochs) / 3600,
            num_trainings * median * study.train.epochs / 3600,
        ),
        compare_hours=num_configs * study.compare.repeats * median * study.train.epochs / 3600,
        claims=describe_claims(study.compare),
        budgets=tuple(_budgets(study)),
        earlier=checked.earlier,
        warnings=(*checked.warnings, *tight),
        foresight=foresight,
        waiting_gib=(
            num_trainings
            * statistics.mean(counts)
            * (CHECKPOINT_BYTES_PER_PARAMETER + BEST_BYTES_PER_PARAMETER * (study.train.keep == "best"))
            / 2**30
            if study.search.scheduler == "asha-promote"
            else 0.0
        ),
    )


def _budgets(study: StudyConfig) -> Iterator[str]:
    search = study.search
    if search.trial_budget_mins is not None:
        yield f"a trial is stopped before an epoch that would take it beyond {search.trial_budget_mins:g} minutes"
    if search.gpu_hours is not None:
        yield f"no new trial begins after {search.gpu_hours:g} GPU hours of training"
    if search.stop_when is not None:
        yield f"no new trial begins after {counted(search.stop_when.trials_without_gain, 'trial')} without gain"


def _sample(study: StudyConfig, space: Space, facts: DataFacts) -> tuple[list[TrialSpec], dict[str, int]]:
    block = make_block(study.seed, "sweep", 0)
    rejected = Counter[str]()
    points: list[Point] = []
    for point in itertools.islice(random_points(study, space), NUM_DRAWS):
        if why := why_not(study, point, facts):
            rejected[why] += 1
        else:
            points.append(point)
    # Random draws may miss the valid points of a small space; listing it finds one.
    points = points or [next(point for point in space.enumerate() if why_not(study, point, facts) is None)]
    specs = [
        bind(study, point, facts, (block,), label=describe_in(study, dict(point))) for point in points[:NUM_SAMPLES]
    ]
    return specs, dict(rejected)


def _tight_limits(study: StudyConfig, rejected: dict[str, int]) -> Iterator[str]:
    """Yield a warning if limits reject nearly all points."""
    num = sum(count for why, count in rejected.items() if "search.limits." in why)
    if num > MOST_REJECTED * NUM_DRAWS:
        names = [name for name in study.search.limits if any(f"search.limits.{name} " in why for why in rejected)]
        yield (
            f"search.limits: {num} of {NUM_DRAWS} random points are above the limit of {' or '.join(names)}, so most "
            "trials are random feasible points; raise the limit, or narrow the space"
        )


def _spread(values: list[int]) -> tuple[int, int, int]:
    return min(values), int(statistics.median(values)), max(values)


def to_lines(plan: Plan) -> list[str]:
    """Return the plan as lines of text."""
    low, mid, high = plan.parameters
    steps = plan.sequential_steps
    on_blocks = f" on {plan.blocks} blocks each" if plan.blocks > 1 else ""
    fast, median, slow = plan.secs_per_epoch
    size = "continuous" if plan.space_size is None else counted(plan.space_size, "point")
    return [
        f"study       {plan.study} -> {plan.folder}",
        f"mlflow      {plan.tracking}",
        f"space       {size}; free: {', '.join(plan.free)}",
        f"            of {counted(plan.num_drawn, 'random point')}: {describe_rejected(plan.rejected)}",
        f"data        {plan.num_train:,} training, {plan.num_val:,} validation, {plan.num_test:,} test images",
        *(f"{'':12}{note}" for note in plan.data_notes),
        f"parameters  {low:,} to {high:,} (median {mid:,}) over {counted(plan.num_sampled, 'random point')}",
        *([f"steps       {steps[0]} to {steps[2]} sequential (median {steps[1]})"] if steps else []),
        f"memory      up to {plan.memory_gib:.2f} GiB per trial for weights and optimizer, plus activations",
        *(
            [f"disk        up to {_gib(plan.waiting_gib)} for the checkpoints of waiting trials"]
            if plan.waiting_gib
            else []
        ),
        f"epoch       {_pace(fast)} to {_pace(slow)} (median {_pace(median)}) on one core of this machine",
        f"sweep       {counted(plan.trials, 'trial')} of up to {counted(plan.epochs, 'epoch')}{on_blocks}: "
        f"{_cost(plan.sweep_hours[0])} to {_cost(plan.sweep_hours[1])}",
        *(f"{'' if place else 'budget':12}{line}" for place, line in enumerate(plan.budgets)),
        *(f"{'' if place else 'earlier':12}{line}" for place, line in enumerate(plan.earlier)),
        f"compare     {_cost(plan.compare_hours)}",
        f"claims      {plan.claims}",
        *(f"{'' if place else 'repeats':12}{line}" for place, line in enumerate(foresight_lines(plan.foresight))),
    ]


def _pace(secs: float) -> str:
    return f"{secs:.2g} s" if secs < 10 else f"{secs:,.0f} s"


def _gib(size: float) -> str:
    return f"{size:,.1f} GiB" if size >= 1 else f"{max(1, round(1024 * size)):,} MiB"


def _cost(hours: float) -> str:
    """Format trial-hours on one core in a readable unit."""
    for unit, amount in (("core-hours", hours), ("core-minutes", 60 * hours)):
        if amount >= 1:
            return f"{amount:,.1f} {unit}"
    return f"{3600 * hours:,.1f} core-seconds"


def to_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data for `--json`."""
    return asdict(plan)
