"""Whether any point of a space can be trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from search.errors import StudyError
from search.study import draws
from search.study.bind import DataFacts
from search.study.config import StudyConfig


@pytest.mark.parametrize("number", [1, draws.NUM_DRAWS + 1, 3000])
def test_one_valid_point_is_enough_however_rare(
    make_study: Callable[..., StudyConfig], facts: DataFacts, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The sweep searches as far: a limit that one point of a thousand keeps is no reason to refuse the study."""
    asked = itertools.count(1)
    monkeypatch.setattr(draws, "why_not", lambda *_: None if next(asked) == number else "macs is above the limit")
    draws.check_possible(make_study(), facts)
    assert next(asked) == number + 1


def test_without_any_the_study_is_refused_soon(
    make_study: Callable[..., StudyConfig], facts: DataFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "why_not", lambda *_: "macs is above the limit")
    with pytest.raises(StudyError, match=r"no valid model among 20,000 random points: .*macs is above the limit"):
        draws.check_possible(make_study(), facts)
    monkeypatch.setattr(draws, "SEARCH_SECS", 0.0)
    with pytest.raises(StudyError, match="no valid model among 400 random points"):
        draws.check_possible(make_study(), facts)
