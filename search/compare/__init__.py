"""Compare the finalists of a sweep with baselines on shared repeats."""
