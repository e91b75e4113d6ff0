"""Write a number together with its noun, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> counted(1, "repeat"), counted(2000, "image")
    ('1 repeat', '2,000 images')
    """
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def num_runs(number: int) -> str:
    """Return the number of trainings of which a score is the mean.

    >>> num_runs(1), num_runs(3)
    ('one run', '3 runs')
    """
    return "one run" if number == 1 else counted(number, "run")
