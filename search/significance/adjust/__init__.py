"""Adjustment of p-values for several comparisons."""
