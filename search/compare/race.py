"""A race: which configuration is beaten already, and who still needs another block. Arrays in, records out.

A race selects, so it is run on validation accuracies: the test set speaks once, when the survivor is confirmed.

Shapes: scores (R,), validation accuracies on blocks 0, 1, ..., R - 1, fractions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.significance.sequential.bounds import e_values
from search.study.claims import Family

FIRST_BLOCKS = 2
"""An e-value takes two differences."""
PRIOR = 1.0
"""g of the t-test e-process: the variance, in units of the noise's, that differences are expected to have."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A pair whose difference was shown."""

    after: int
    """Blocks."""
    winner: str
    loser: str
    e_value: float
    needed: float
    """What its e-value had to reach at that moment."""
    word = "decided"


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A pair that was closed undecided, because one of the two lost elsewhere."""

    after: int
    """Blocks."""
    loser: str
    word = "dropped"


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """A pair that goes on, or that was still open when the blocks ran out."""

    word = "undecided"


@dataclass(frozen=True, kw_only=True)
class RacedPair:
    """One declared pair, as far as it was raced."""

    family: str
    a: str
    b: str
    e_values: tuple[float, ...]
    """After 2, 3, ... common blocks, up to the one that closed the pair."""
    needed: float
    """What its e-value must reach next, or had to."""
    outcome: Decided | Dropped | Undecided

    @property
    def is_open(self) -> bool:
        """Whether another block could decide it."""
        return isinstance(self.outcome, Undecided)


@dataclass(frozen=True, kw_only=True)
class Race:
    """Where a race stands."""

    pairs: tuple[RacedPair, ...]
    num_blocks: Mapping[str, int]
    """Configuration -> blocks that it was raced on."""
    dropped: Mapping[str, int]
    """Configuration -> block after which it was dropped."""
    cap: int
    """Blocks at most."""
    running: tuple[str, ...]
    """Who is to be trained on the next block; empty when the race is over."""

    @property
    def length(self) -> int:
        """Blocks that were raced."""
        return max(self.num_blocks.values(), default=0)


def run_race(
    scores: Mapping[str, NDArray[np.float64]], families: Sequence[Family], *, alpha: float, cap: int, g: float = PRIOR
) -> Race:
    """Race on what is there, block by block, and say who needs the next one.

    The race is replayed from its first block each time, so that it comes out the same however often it was cut off.
    After every block each open pair's t-test e-process is looked at; a pair is decided as soon as its e-value reaches
    what Holm's procedure asks of it. Its loser is dropped: it is trained no further, and its other pairs are closed.

    With probability 1 - alpha no pair of a family is decided although its two are alike on this data set, however
    often one looks and wherever one stops. By Ville's inequality, the largest value that the e-process of a true null
    hypothesis would ever reach, were it never stopped, exceeds 1/u with probability u at most: its reciprocal is a
    p-value. Holm's procedure on these p-values holds alpha under any dependence; so a pair among m, of which k are
    decided, needs E >= (m - k) / alpha. What is decided on the way is a part of what would be decided at the end,
    whatever pair was stopped early and why: e-values never need to be comparable between pairs, as they would have to
    be for averaging them.

    The promise fails when repeats are not iid given the data, when differences are far from normal over few blocks, and
    for claims beyond this data set, which here are the images that training and validation parts are drawn from. With
    test accuracies it would be kept, and the confirmation's broken: luck with the test images that chose the survivor
    would speak for it a second time, whatever blocks it is trained on. A pair that was decided is a pair that differs;
    who is ahead is read from its mean.

    Args:
        scores: Configuration -> its validation accuracies, shape (R,), in the order of the blocks; what the race does
            not need is not looked at. A diverged repeat has its last finite checkpoint's accuracy, or chance.
        families: The declared pairs; every family has the error rate alpha.
        alpha: Family-wise error rate of each family.
        cap: Blocks at most.
        g: Variance of the expected effects, in units of the differences' variance.

    Returns:
        The race as far as the scores go.

    Reference:
        Wang and Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance,
        arXiv 2310.03722; Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    lanes = [
        _Lane(family=family.name, a=a, b=b, curve=_curve(scores, a, b, g=g))
        for family in families
        for a, b in family.pairs
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
    """A pair while it is raced."""

    family: str
    a: str
    b: str
    curve: NDArray[np.float64]
    """E-values after 2, 3, ... blocks, as far as both have scores."""
    outcome: Decided | Dropped | Undecided = Undecided()

    @property
    def is_open(self) -> bool:
        return isinstance(self.outcome, Undecided)

    def e_value(self, number: int) -> float:
        """After so many blocks; 1, which is no evidence at all, before there can be any."""
        return float(self.curve[number - FIRST_BLOCKS]) if number >= FIRST_BLOCKS else 1.0


def _curve(scores: Mapping[str, NDArray[np.float64]], a: str, b: str, *, g: float) -> NDArray[np.float64]:
    first, second = (np.asarray(scores.get(name, ()), dtype=np.float64) for name in (a, b))
    shared = min(len(first), len(second))
    return e_values(first[:shared] - second[:shared], g=g)


def _decide(lanes: Sequence[_Lane], scores: Mapping[str, NDArray[np.float64]], number: int, *, alpha: float) -> None:
    """Decide what can be decided in one family after a block, the largest e-value first, as Holm does."""
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


def fewest_blocks(needed: float, *, g: float = PRIOR) -> int:
    """Blocks below which no e-value can reach what is needed, however clear the difference.

    The e-process after n blocks stays below (1 + n g)^((n - 1) / 2), its limit for t without end.
    """
    number = FIRST_BLOCKS
    while 0.5 * (number - 1) * math.log1p(number * g) <= math.log(needed):
        number += 1
    return number


def first_possible(families: Sequence[Family], *, alpha: float, g: float = PRIOR) -> int:
    """Blocks before which nothing can be decided in any family: they may as well be trained at once."""
    return min(fewest_blocks(len(family.pairs) / alpha, g=g) for family in families)


def survivor_of(race: Race, scores: Mapping[str, NDArray[np.float64]], finalists: Collection[str]) -> str:
    """Who goes on to be confirmed.

    Of those that were not dropped, a finalist if there is one; of these who won most pairs; of these who has the
    highest mean over the blocks that all of them were raced on; of these the first that is declared. It was chosen for
    having done well, so that what it scored in the race flatters it: only fresh blocks, scored on images that took no
    part in the race, can say how good it is.

    Args:
        race: A race that is over.
        scores: Those that it was run on.
        finalists: Names of the finalists.

    Returns:
        Its name. There is always one: whoever leads on the last block of a decision is not its loser.
    """
    left = [name for name in race.num_blocks if name not in race.dropped]
    left = [name for name in left if name in finalists] or left
    shared = min(race.num_blocks[name] for name in left)
    return max(left, key=lambda name: (num_won(race, name), float(np.mean(scores[name][:shared]))))


def num_won(race: Race, name: str) -> int:
    """Pairs that were decided for a configuration."""
    return sum(isinstance(pair.outcome, Decided) and pair.outcome.winner == name for pair in race.pairs)
