"""Benchmarks, and the reference implementations that they compare with."""
