"""No printed number contradicts the decision beside it: on hard cases, and for any results by reading the sentence."""

from __future__ import annotations

import dataclasses
import math
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from search.console.tables import pair_rows
from search.significance import Comparison, Declared, Interval, Results, Verdict, judge_results
from search.significance.rounding import digits_apart, digits_for, p_number, p_value, points, significant


@pytest.mark.parametrize(
    ("p", "alpha", "words"),
    [
        (0.0497, None, "p = .050"),
        (0.0497, 0.05, "p = .0497"),
        (0.0503, 0.05, "p = .0503"),
        (0.04999996, 0.05, "p = .04999996"),
        (0.0499999997, 0.05, "p = .050"),  # on alpha, but for float noise
        (0.05, 0.05, "p = .050"),
        (0.0494, 0.05, "p = .049"),
        (0.0126, 0.0125, "p = .013"),
        (0.0124, 0.0125, "p = .012"),
        (0.00096, 0.001, "p = .00096"),
        (0.0003, 0.05, "p < .001"),
        (0.0003, 0.0005, "p = .0003"),
        (0.00003, 0.0005, "p < .0001"),
        (0.9996, 0.05, "p = 1"),
        (1.0, None, "p = 1"),
    ],
)
def test_p_values(p: float, alpha: float | None, words: str) -> None:
    assert p_value(p, alpha) == words


def test_the_ends_of_an_interval_stay_off_their_marks() -> None:
    near_zero = Interval(low=0.00004, high=0.012, level=0.95)
    assert digits_for(near_zero) == 1
    assert digits_for(near_zero, (0.0,)) == 3
    assert points(near_zero.low, 3) == "0.004"
    assert digits_for(Interval(low=0.0, high=0.012, level=0.95), (0.0,)) == 1  # on its mark
    assert digits_apart([0.00497], [0.005]) == 3
    assert digits_apart([math.nan], [0.005]) == 1
    assert points(-0.00001) == "0.0"


@pytest.mark.parametrize(("p", "words"), [(0.04996, "0.04996"), (0.0497, "0.0497"), (0.05, "0.05"), (3e-7, "3e-07")])
def test_significant_digits_stay_off_alpha(p: float, words: str) -> None:
    assert significant(p, 0.05) == words


def judged(diff: list[float], declared: Declared, *, swapped: bool = False, family: int = 1) -> list[Comparison]:
    """A against B whose scores differ by so much, and further configurations against B."""
    base = np.full(len(diff), 0.6) + 0.01 * np.sin(np.arange(len(diff)))
    scores = {"A": base + diff, "B": base}
    rng = np.random.default_rng(0)
    scores |= {f"C{i}": base + rng.normal(0, 0.003, len(diff)) for i in range(family - 1)}
    blocks = dict.fromkeys(scores, tuple(map(str, range(len(diff)))))
    found = Results(configs=tuple(scores), blocks=blocks, scores=scores)
    pairs = [("B", "A") if swapped else ("A", "B"), *((f"C{i}", "B") for i in range(family - 1))]
    with mock.patch("search.significance.judge.bca_interval", return_value=None):  # slow, and never printed here
        return list(judge_results([found], pairs, declared))


NUMBER = r"-?\d*\.?\d+(?:e-\d+)?"


def p_of(text: str) -> tuple[str, float]:
    found = re.search(r"\b[pq] ([=<>]) (\.\d+|1)", text)
    assert found is not None, text
    return found[1], float(found[2])


def says_at_most(sign: str, value: float, alpha: float) -> bool:
    """Whether a reader of `p = value` concludes that p is at most alpha."""
    return value <= alpha if sign in "=<" else False


def check(c: Comparison) -> None:
    """Read what is printed of a comparison, and decide from it."""
    if c.verdict is Verdict.REFUSED:
        return
    brackets = re.search(rf"\((\d+(?:\.\d+)?) % interval ({NUMBER}) to ({NUMBER}); ([^;]*); \d+ paired", c.sentence)
    assert brackets is not None, c.sentence
    low, high, rope = float(brackets[2]), float(brackets[3]), 100 * c.rope
    claims = says_at_most(*p_of(brackets[4]), c.alpha)
    match c.verdict:
        case Verdict.EQUIVALENT:
            assert float(brackets[1]) == pytest.approx(100 * (1 - 2 * c.alpha))
            assert "TOST p" in brackets[4]
            assert claims
            assert -rope < low <= high < rope
        case Verdict.BETTER | Verdict.WORSE:
            assert claims
            assert low > 0
        case _:
            if claims:
                assert "No verdict, because" in c.sentence
            if not low <= 0 <= high:
                words = ("the difference is not significant", "No verdict, because")
                assert any(text in c.sentence for text in words) or claims is False
    row = dict(zip(*pair_rows([c]), strict=True))
    ends = [float(end) for end in row["95 % interval, pp"].split(" to ")] if "95 % interval, pp" in row else []
    if c.verdict in (Verdict.BETTER, Verdict.WORSE):
        assert row["p" if c.family_size == 1 else "Holm p"].lstrip("< ") <= f"{c.alpha:.8f}"[1:] or c.alpha != 0.05
        if ends:
            assert (min(ends) > 0) is (c.verdict is Verdict.BETTER)
            assert (max(ends) < 0) is (c.verdict is Verdict.WORSE)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.floats(-0.02, 0.02), min_size=5, max_size=12, unique_by=lambda value: round(value, 9)),
    st.sampled_from([0.05, 0.01, 0.1]),
    st.sampled_from(["p", "low", "edge", "none"]),
    st.integers(1, 3),
)
def test_a_reader_comes_to_the_same_decision(noise: list[float], alpha: float, aim: str, family: int) -> None:
    """The mean is moved to where p, an end of the interval, or the edge of the rope is all but on its mark."""
    diff = np.array(noise)
    assume(np.ptp(diff) > 1e-3)
    declared = Declared(estimand="this-data", alpha=alpha)
    centred = diff - diff.mean()
    se = float(np.std(diff, ddof=1)) / math.sqrt(diff.size)
    critical = float(stats.t.isf(alpha / 2, diff.size - 1)) * se
    shifts = {"p": critical, "low": critical, "edge": 0.005 - critical, "none": float(diff.mean())}
    for nudge in (-1e-6, 1e-6):
        moved = (centred + shifts[aim] + nudge).tolist()
        assume(max(map(abs, moved)) < 0.3)
        for swapped in (False, True):
            for comparison in judged(moved, declared, swapped=swapped, family=family):
                check(comparison)
    one, other = judged(moved, declared)[0], judged(moved, declared, swapped=True)[0]
    mirror = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert other.verdict is mirror.get(one.verdict, one.verdict)
    if one.verdict in mirror:
        words = " beats ", " loses to "
        turned = {words[0]: words[1], words[1]: words[0]}
        first = next(word for word in words if word in one.sentence)
        expected = one.sentence.replace(f"A{first}B", f"B{turned[first]}A").replace("P(deficit", "P(difference")
        assert other.sentence.replace("P(deficit", "P(difference") == expected


def test_the_mirror_of_an_equivalence() -> None:
    diff = [0.001, -0.0012, 0.0004, 0.0021, -0.0007, 0.0009]
    one, other = judged(diff, Declared())[0], judged(diff, Declared(), swapped=True)[0]
    assert one.verdict is other.verdict is Verdict.EQUIVALENT
    assert one.equivalence_interval is not None
    assert other.equivalence_interval is not None
    assert other.equivalence_interval.low == pytest.approx(-one.equivalence_interval.high)
    assert other.tost_p == pytest.approx(one.tost_p)


def test_what_stands_beside_no_family_and_beside_false_discoveries() -> None:
    diff = [0.012, 0.009, 0.014, 0.011, 0.0105, 0.0093]
    (alone,) = judged(diff, Declared())
    assert "; p < .001; 6 paired repeats" in alone.sentence
    assert "over 1" not in alone.sentence
    several = judged(diff, Declared(adjust="bh"), family=3)
    assert "; false discovery rate q = .001 over 3; 6 paired" in several[0].sentence.replace("q < .001", "q = .001")
    assert pair_rows(several)[0][4] == "q"
    assert pair_rows([alone])[0][4] == "p"
    holm = judged(diff, Declared(), family=3)
    assert pair_rows(holm)[0][4] == "Holm p"


def test_the_same_difference_in_all_repeats_but_one_is_no_evidence() -> None:
    (found,) = judged([0.0101] + [0.01] * 7, Declared())
    assert found.verdict is Verdict.REFUSED
    assert "the difference is the same in 7 of 8 repeats, so the seeds may not have reached" in found.sentence
    (varied,) = judged([0.0101, 0.0099] + [0.01] * 6, Declared())
    assert varied.verdict is Verdict.BETTER


def test_a_p_of_0497_and_one_of_0503() -> None:
    sentences = []
    for shift in (0.003846593331394, 0.0038320538251326):  # of eight differences, just on either side of .05
        diff = np.array([6, -4, 0, 2, -7, 8, -3, 1]) / 1000 + shift
        (found,) = judged(diff.tolist(), Declared(estimand="this-data"))
        sentences.append(found.sentence)
        assert dataclasses.asdict(found)["p"] is not None
    assert "p = .0497;" in sentences[0]
    assert sentences[0].startswith("A beats B by 0.422 percentage points (95 % interval 0.001 to")
    assert "p = .0503;" in sentences[1]
    assert sentences[1].startswith("Inconclusive: A minus B is 0.421 percentage points (95 % interval -0.001 to")
    assert p_number(0.0497, 0.05) == ".0497"
