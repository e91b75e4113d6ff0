"""The disk is full for Optuna's log, at any of its lines: one line for the user, and the same command goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.check import EXIT_AGREE, check
from search.drive import run_sweep
from search.errors import EXIT_INPUT, ProposalsError
from search.study import StudyConfig
from search.tracking.journal import read_records

MakeStudy = Callable[..., StudyConfig]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Let the disk be full from the given line on; None: there is room again."""
    from optuna.storages.journal import JournalFileBackend

    append = JournalFileBackend.append_logs
    left: list[int | None] = [None]

    def fail_later(self: Any, logs: list[dict[str, Any]]) -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] <= 0:
                raise OSError(28, "No space left on device")
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", fail_later)
    return lambda lines: left.__setitem__(0, lines)


def go_through(study: StudyConfig, fill: Callable[[int | None], None], line: int, num_trials: int) -> None:
    fill(line)
    with pytest.raises(ProposalsError, match=r"optuna\.log: cannot be read or written \(No space left") as caught:
        run_sweep(study)
    assert caught.value.exit_code == EXIT_INPUT
    assert "\n" not in str(caught.value)
    fill(None)
    assert run_sweep(study).num_over == num_trials
    assert len(read_records(study.folder)) == num_trials
    assert check(study).exit_code == EXIT_AGREE, check(study)


@pytest.mark.parametrize("line", [1, 3, 6, 12, 17])
def test_inline(make_study: MakeStudy, fill: Callable[[int | None], None], line: int) -> None:
    go_through(make_study("search.trials=3", "train.epochs=2"), fill, line, 3)


@pytest.mark.slow
@pytest.mark.ray
def test_inside_the_hooks_of_ray_tune(make_study: MakeStudy, fill: Callable[[int | None], None]) -> None:
    study = make_study("search.trials=4", "train.epochs=2", resources={"runner": "ray", "concurrency": 1})
    go_through(study, fill, 14, 4)
