"""Significance tests: functions from arrays to a `MeanTest`."""
