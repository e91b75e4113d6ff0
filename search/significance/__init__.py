"""Test whether the difference between two configurations is real: deterministic functions from arrays to records."""

from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.pairing import ScoresError
from search.significance.records import Comparison, Interval, MeanTest, Verdict
from search.significance.results import Results

__all__ = ["Comparison", "Declared", "Interval", "MeanTest", "Results", "ScoresError", "Verdict", "judge_results"]
