"""Sequential tests, which may be read while repeats are still running."""
