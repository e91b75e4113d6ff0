"""Finalists and baselines on shared repeats, and the verdict on them."""
