"""Adjust p-values for multiple comparisons."""
