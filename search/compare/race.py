"""Race configurations: drop those that are shown to be worse, and report which need another block.

A race selects configurations, so it uses validation accuracies. The test set is used once, to confirm the survivor.

Shapes: scores (R,), validation accuracies on blocks 0, 1, ..., R - 1, fractions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from search.significance.sequential.bounds import e_values
from search.study.claims import Family

FIRST_BLOCKS = 2
"""An e-value needs at least two differences."""
PRIOR = 1.0
"""g of the t-test e-process: the expected variance of the effects, in units of the noise variance."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A pair whose difference is significant."""

    after: int
    """Number of blocks at the decision."""
    winner: str
    loser: str
    e_value: float
    needed: float
    """Threshold that the e-value had to reach at the decision."""
    word: ClassVar[Literal["decided"]] = "decided"


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A pair that was closed undecided because one of its configurations lost another pair."""

    after: int
    """Number of blocks when the pair was closed."""
    loser: str
    word: ClassVar[Literal["dropped"]] = "dropped"


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """A pair that is still racing, or was undecided when the last block was reached."""

    word: ClassVar[Literal["undecided"]] = "undecided"


@dataclass(frozen=True, kw_only=True)
class RacedPair:
    """State of one declared pair."""

    family: str
    a: str
    b: str
    e_values: tuple[float, ...]
    """E-values after 2, 3, ... common blocks, up to the block that closed the pair."""
    needed: float
    """Threshold for the next e-value, or the last threshold of a closed pair."""
    outcome: Decided | Dropped | Undecided

    @property
    def is_open(self) -> bool:
        """Whether another block could decide the pair."""
        return isinstance(self.outcome, Undecided)


@dataclass(frozen=True, kw_only=True)
class Race:
    """State of a race."""

    pairs: tuple[RacedPair, ...]
    num_blocks: Mapping[str, int]
    """Configuration -> number of blocks that it was raced on."""
    dropped: Mapping[str, int]
    """Configuration -> number of blocks after which it was dropped."""
    cap: int
    """Maximum number of blocks."""
    running: tuple[str, ...]
    """Configurations to train on the next block; empty when the race is over."""

    @property
    def length(self) -> int:
        """Number of blocks that were raced."""
        return max(self.num_blocks.values(), default=0)


def run_race(scores: Mapping[str, NDArray[np.float64]], families: Sequence[Family], *, alpha: float, cap: int) -> Race:
    """Replay a race over the available scores and return its state.

    The race is replayed from the first block on every call, so an interrupted race gives the same result. After every
    block, the t-test e-process of each open pair is updated. A pair is decided as soon as its e-value reaches Holm's
    threshold. The loser is dropped: it is not trained further, and its other pairs are closed.

    With probability 1 - alpha, no pair of a family whose configurations are equal on this data set is decided, however
    often the race is analysed and whenever it stops. By Ville's inequality, the supremum of the e-process of a true
    null hypothesis exceeds 1/u with probability at most u, so its reciprocal is a p-value. Holm's procedure on these
    p-values controls the error rate at alpha under any dependence: a pair among m, of which k are decided, needs E >=
    (m - k) / alpha. The pairs decided on the way are a subset of those that the complete race would decide, even if
    pairs are stopped early. E-values of different pairs are never averaged and need not be comparable.

    The guarantee fails if repeats are not iid given the data, if differences are far from normal over few blocks, and
    for claims beyond this data set, from whose images the training and validation sets are drawn. Racing on test
    accuracies would invalidate the confirmation: the images that favoured the survivor in the race would favour it
    again, on any block. A decided pair differs; the sign of its mean difference gives the winner.

    Args:
        scores: Configuration -> validation accuracies, shape (R,), in block order; scores beyond what the race needs
            are ignored. A diverged repeat has the accuracy of its last finite checkpoint, or chance accuracy.
        families: The declared pairs; the error rate alpha holds for each family.
        alpha: Family-wise error rate of each family.
        cap: Maximum number of blocks.

    Returns:
        The state of the race after the available scores.

    Reference:
        Wang and Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance,
        arXiv 2310.03722; Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    lanes = [
        _Lane(family=family.name, a=a, b=b, curve=_curve(scores, a, b)) for family in families for a, b in family.pairs
    ]
    num_blocks = {name: 0 for lane in lanes for name in (lane.a, lane.b)}
    dropped: dict[str, int] = {}
    running: tuple[str, ...] = ()
    for number in range(1, cap + 1):
        needed = [name for name in num_blocks if any(lane.is_open and name in (lane.a, lane.b) for lane in lanes)]
        if any(len(scores.get(name, ())) < number for name in needed):
            running = tuple(needed)
            break
        num_blocks |= dict.fromkeys(needed, number)
        for family in families:
            _decide([lane for lane in lanes if lane.family == family.name], scores, number, alpha=alpha)
        losers = {lane.outcome.loser for lane in lanes if isinstance(lane.outcome, Decided)}
        dropped |= dict.fromkeys(sorted(losers - set(dropped)), number)
        for lane in lanes:
            lost = [name for name in (lane.a, lane.b) if name in dropped]
            if lane.is_open and lost:
                lane.outcome = Dropped(after=number, loser=min(lost))
    return Race(
        pairs=tuple(_freeze(lane, lanes, num_blocks, alpha=alpha) for lane in lanes),
        num_blocks=num_blocks,
        dropped=dropped,
        cap=cap,
        running=running,
    )


@dataclass(kw_only=True)
class _Lane:
    """Mutable state of a pair during the race."""

    family: str
    a: str
    b: str
    curve: NDArray[np.float64]
    """E-values after 2, 3, ... blocks, as far as both configurations have scores."""
    outcome: Decided | Dropped | Undecided = Undecided()

    @property
    def is_open(self) -> bool:
        return isinstance(self.outcome, Undecided)

    def e_value(self, number: int) -> float:
        """Return the e-value after a number of blocks; 1 (no evidence) before the second block."""
        return float(self.curve[number - FIRST_BLOCKS]) if number >= FIRST_BLOCKS else 1.0


def _curve(scores: Mapping[str, NDArray[np.float64]], a: str, b: str) -> NDArray[np.float64]:
    first, second = (np.asarray(scores.get(name, ()), dtype=np.float64) for name in (a, b))
    shared = min(len(first), len(second))
    return e_values(first[:shared] - second[:shared], g=PRIOR)


def _decide(lanes: Sequence[_Lane], scores: Mapping[str, NDArray[np.float64]], number: int, *, alpha: float) -> None:
    """Apply Holm's procedure to the open pairs of one family, largest e-value first."""
    while still := [lane for lane in lanes if lane.is_open]:
        best = max(still, key=lambda lane: lane.e_value(number))
        needed = _needed(lanes, alpha=alpha)
        if best.e_value(number) < needed:
            return
        ahead = float(np.mean(scores[best.a][:number]) - np.mean(scores[best.b][:number])) > 0
        winner, loser = (best.a, best.b) if ahead else (best.b, best.a)
        best.outcome = Decided(after=number, winner=winner, loser=loser, e_value=best.e_value(number), needed=needed)


def _needed(family: Sequence[_Lane], *, alpha: float) -> float:
    return (len(family) - sum(isinstance(lane.outcome, Decided) for lane in family)) / alpha


def _freeze(lane: _Lane, lanes: Sequence[_Lane], num_blocks: Mapping[str, int], *, alpha: float) -> RacedPair:
    last = min(num_blocks[lane.a], num_blocks[lane.b])
    needed = _needed([other for other in lanes if other.family == lane.family], alpha=alpha)
    outcome = lane.outcome
    if not isinstance(outcome, Undecided):
        last = outcome.after
    if isinstance(outcome, Decided):
        needed = outcome.needed
    return RacedPair(
        family=lane.family,
        a=lane.a,
        b=lane.b,
        e_values=tuple(float(value) for value in lane.curve[: max(0, last - FIRST_BLOCKS + 1)]),
        needed=needed,
        outcome=outcome,
    )


def fewest_blocks(needed: float) -> int:
    """Return the smallest number of blocks after which an e-value can reach a threshold, for any difference.

    The e-process after n blocks stays below (1 + n g)^((n - 1) / 2), its limit as t goes to infinity.

    Args:
        needed: The threshold.
    """
    number = FIRST_BLOCKS
    while 0.5 * (number - 1) * math.log1p(number * PRIOR) <= math.log(needed):
        number += 1
    return number


def first_possible(families: Sequence[Family], *, alpha: float) -> int:
    """Return the first number of blocks at which any family can be decided; earlier blocks can be trained together."""
    return min(fewest_blocks(len(family.pairs) / alpha) for family in families)


def survivor_of(race: Race, scores: Mapping[str, NDArray[np.float64]], finalists: Collection[str]) -> str:
    """Return the name of the configuration to confirm.

    Candidates are the configurations that were not dropped, restricted in this order: finalists if there are any, the
    most pairs won, the highest mean over the blocks that all candidates share, the first declared. The survivor's
    scores in the race are biased upward by the selection. Only fresh blocks, scored on images that the race did not
    use, give an unbiased estimate.

    Args:
        race: A completed race.
        scores: The scores it was run on.
        finalists: Names of the finalists.

    Returns:
        The survivor's name. There is always one: the leader on the block of the last decision cannot be its loser.
    """
    left = [name for name in race.num_blocks if name not in race.dropped]
    left = [name for name in left if name in finalists] or left
    shared = min(race.num_blocks[name] for name in left)
    return max(left, key=lambda name: (num_won(race, name), float(np.mean(scores[name][:shared]))))


def num_won(race: Race, name: str) -> int:
    """Return the number of pairs that a configuration won."""
    return sum(isinstance(pair.outcome, Decided) and pair.outcome.winner == name for pair in race.pairs)
