"""The part of the page about what mattered."""

from __future__ import annotations

from statistics import fmean

from bench.search_efficiency.importance import NUM_SWEEPS, NUM_TRIALS, compare
from bench.search_efficiency.table import Table
from bench.tables import NOTHING, table
from search.journal.importance import Ranking


def importance_part(recorded: Table, name: str) -> list[str]:
    """Return the paragraphs about what mattered in sweeps, beside the truth of the whole table."""
    found = compare(recorded, name)
    true_best, true_variance = (_shares(ranking) for ranking in (found.whole.reaching, found.whole.variance))
    best, variance = ([_shares(getattr(sweep, field)) for sweep in found.sweeps] for field in ("reaching", "variance"))
    one = {share.parameter: share for share in found.sweeps[0].reaching.shares}
    lines = [
        [
            f"`{parameter}`",
            _percent(true_best.get(parameter)),
            _over(best, parameter),
            (
                f"{'' if one[parameter].is_beyond_chance else '~'}{_percent(one[parameter].share)} "
                f"({_percent(one[parameter].low)}-{_percent(one[parameter].high)})"
                if parameter in one
                else NOTHING
            ),
            _percent(found.main_effects.get(parameter)),
            _percent(true_variance.get(parameter)),
            _over(variance, parameter),
        ]
        for parameter in found.whole.parameters
    ]
    header = (
        "parameter",
        "best quarter: all points",
        "sweeps",
        "the first sweep",
        "variance: exact",
        "fANOVA, all points",
        "sweeps",
    )
    first = [sweep.parameters[0] for sweep in found.sweeps if sweep.has_enough_trials]
    return [
        "## What mattered, beside the truth",
        f"The importances that `status --importance` and the report show, computed on {NUM_SWEEPS} sweeps of our "
        f"default with {NUM_TRIALS} trials each, beside those of all {len(recorded.points)} points with the means of "
        "their first trainings. The share of the variance that lies between the values of a parameter is known exactly "
        "from the whole table, for parameters that every point has; it counts each point once, fANOVA each value. "
        "A sweep draws good points more often, and stops "
        "others early, so its shares are those of the points that it chose. All numbers are per cent. *Sweeps* is the "
        "mean, with the lowest and the highest; `~` is not beyond chance.",
        table(header, lines),
        f"The most important parameter of the whole table is `{found.whole.parameters[0]}`; "
        f"{sum(name == found.whole.parameters[0] for name in first)} of the {NUM_SWEEPS} sweeps put it first.",
    ]


def _shares(ranking: Ranking) -> dict[str, float]:
    return {share.parameter: share.share for share in ranking.shares}


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f}"


def _over(sweeps: list[dict[str, float]], parameter: str) -> str:
    values = [shares[parameter] for shares in sweeps if parameter in shares]
    if not values:
        return NOTHING
    return f"{_percent(fmean(values))} ({_percent(min(values))}-{_percent(max(values))})"
