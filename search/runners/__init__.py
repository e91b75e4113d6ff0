"""Runners, which execute trainings on Ray Tune or inline, and the checks before a start."""
