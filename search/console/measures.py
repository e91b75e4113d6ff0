"""Names and numbers of measures as they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from search.journal.measures import MEASURES
from search.text.numbers import plain_number

TITLES: Mapping[str, str] = {
    "val_accuracy": "validation accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_macro_f1": "macro F1",
    "val_auroc": "AUROC",
    "val_loss": "validation loss",
    "num_parameters": "parameters",
    "macs": "multiply-adds per image",
    "sequential_steps": "sequential steps",
    "latency_ms": "latency",
    "train_secs_per_epoch": "training time per epoch",
    "peak_memory_gib": "peak memory",
}
"""Measure -> its title in tables and figures."""


def show_measure(name: str, value: float | None) -> str:
    """Format a measure.

    >>> show_measure("val_accuracy", 0.97812), show_measure("macs", 1234567), show_measure("latency_ms", 4.123)
    ('97.81 %', '1,234,567', '4.12 ms')
    """
    if value is None:
        return "unknown"
    measure = MEASURES[name]
    if measure.kind == "count":
        return f"{value:,.0f}"
    if measure.kind == "cost":
        return f"{plain_number(value, 3)} {measure.unit}"
    return f"{value:.4f}" if name == "val_loss" else f"{100 * value:.2f} %"


def title_of(name: str) -> str:
    """Return the title of a measure with its unit: `latency (ms)`."""
    measure = MEASURES[name]
    unit = "%" if measure.kind == "score" and name != "val_loss" else measure.unit
    return f"{TITLES[name]} ({unit})" if unit else TITLES[name]
