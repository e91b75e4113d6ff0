"""Number of repeats that are needed to detect a difference."""
