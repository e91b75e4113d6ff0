"""Reference implementations in plain library code, which the benchmarks compare with."""
