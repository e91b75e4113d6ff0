"""Significance tests: arrays in, one `MeanTest` out."""
