"""Whether a difference between two configurations is real: arrays in, records out, no files, no chance."""

from search.significance.judge import judge
from search.significance.pairing import ScoresError
from search.significance.records import Comparison, Interval, MeanTest, Verdict

__all__ = ["Comparison", "Interval", "MeanTest", "ScoresError", "Verdict", "judge"]
