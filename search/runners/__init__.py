"""Where trainings run: on Ray Tune, or inline."""
