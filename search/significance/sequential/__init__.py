"""Tests that may be read while repeats are still running."""
