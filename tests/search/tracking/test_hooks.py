"""Hooks: every event once over all starts, faults told once, and trackers that are hooks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from search.cli.app import app
from search.copies import hooks as copies
from search.copies.hooks import HookError, HookFollower, hook_import_faults, load_class
from search.errors import StudyError
from search.journal.hook_calls import HookCalls
from search.records import Failed
from search.study.hooks import Hook, parse_hook
from search.study.load import load_study

if TYPE_CHECKING:
    from conftest import Study


class Seen:
    """A hook that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_study_begin(self, study: Any) -> None:
        self.calls.append(("study", study.name, study.is_resumed))

    def on_trial_begin(self, trial: Any) -> None:
        self.calls.append(("begin", trial.key, len(trial.curve)))

    def on_epoch(self, trial: Any, metrics: Any) -> None:
        self.calls.append(("epoch", trial.key, metrics.epoch, metrics.val_accuracy))

    def on_trial_end(self, trial: Any) -> None:
        self.calls.append(("end", trial.key, trial.outcome.word))

    def on_comparison(self, comparison: Any) -> None:
        self.calls.append(("comparison", comparison["key"]))

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture
def follow(study: Study) -> Callable[..., tuple[HookCalls, Any, list[str]]]:
    """A start of the process, with a hook and what it was told."""

    def make(hook: object | None = None, name: str = "one") -> tuple[HookCalls, Any, list[str]]:
        told: list[str] = []
        made = hook or Seen()
        calls = HookCalls(
            study.folder,
            made,
            study.folder / f"{name}.json",
            name="my-study",
            settings={},
            on_error=lambda method, error: told.append(f"{method}: {error}"),
        )
        return calls, made, told

    return make


def test_each_event_comes_once_over_all_starts(study: Study, follow: Any) -> None:
    calls, seen, _ = follow()
    assert calls.deliver() == 0
    study.session()
    study.trial("a", num_epochs=2)
    study.begin("b")
    assert calls.deliver() == 6
    calls.close()
    assert seen.calls == [
        ("study", "my-study", False),
        ("begin", "a", 0),
        ("epoch", "a", 1, 0.5),
        ("epoch", "a", 2, 0.5),
        ("end", "a", "completed"),
        ("begin", "b", 0),
        ("close",),
    ]
    # A trial ends while no process follows; then the command is started again.
    study.epochs("b", 1, 1)
    study.session()
    study.journal.note("comparison", key="c0", metrics={})
    calls, seen, _ = follow()
    calls.deliver()
    calls.deliver()
    assert seen.calls == [("study", "my-study", True), ("epoch", "b", 1, 0.5), ("comparison", "c0")]
    # A hook that is added later receives everything.
    calls, seen, _ = follow(name="two")
    calls.deliver()
    assert seen.calls[0] == ("study", "my-study", False)
    assert len(seen.calls) == 8


def test_a_kill_repeats_one_call_at_most(study: Study, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study.session()
    study.trial("a", num_epochs=3)
    calls, seen, _ = follow()
    store = calls._store

    def die() -> None:
        if len(seen.calls) == 4:
            raise KeyboardInterrupt
        store()

    monkeypatch.setattr(calls, "_store", die)
    with pytest.raises(KeyboardInterrupt):
        calls.deliver()
    calls, again, _ = follow()
    calls.deliver()
    assert seen.calls[-1] == again.calls[1] == ("epoch", "a", 2, 0.5)
    assert again.calls[2:] == [("epoch", "a", 3, 0.5), ("end", "a", "completed")]


def test_another_journal_is_another_study(study: Study, follow: Any) -> None:
    study.session()
    study.trial("a")
    follow()[0].deliver()
    (study.folder / "one.json").write_text(json.dumps({"journal": "another", "offset": 10**6}))
    calls, seen, _ = follow()
    calls.deliver()
    assert len(seen.calls) == 4
    (study.folder / "one.json").write_text("rubbish")
    calls, seen, _ = follow()
    calls.deliver()
    assert len(seen.calls) == 4


def test_an_exception_ends_nothing(study: Study, follow: Any) -> None:
    class Faulty(Seen):
        def on_epoch(self, trial: Any, metrics: Any) -> None:
            super().on_epoch(trial, metrics)
            sys.exit("no network")

    study.session()
    study.trial("a", num_epochs=2, outcome=Failed(reason="x"))
    calls, seen, told = follow(Faulty())
    calls.deliver()
    assert told == ["on_epoch: no network"] * 2
    assert [call[0] for call in seen.calls] == ["study", "begin", "epoch", "epoch", "end"]
    calls, seen, _ = follow()
    assert calls.deliver() == 0


HOOK = """
class Quiet:
    def on_epoch(self, trial, metrics):
        raise ValueError(f"epoch {metrics.epoch}")

class Loud(Quiet):
    def on_trial_ends(self, trial):
        pass

class Other:
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of hooks."""
    (tmp_path / "my_hooks.py").write_text(HOOK)
    return tmp_path / "my_hooks.py"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Quite", r"my_hooks\.py: expected a class Quite, found none; it has Quiet"),
        ("Loud", r"my_hooks\.py: expected methods of a hook in Loud, found on_trial_ends; did you mean on_trial_end\?"),
        ("Other", r"expected one of on_study_begin, .* in Other, found none"),
    ],
)
def test_a_class_that_is_no_hook_is_refused(file: Path, text: str, words: str) -> None:
    with pytest.raises(HookError, match=words):
        load_class(Hook(module=str(file), name=text))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import search.nothing_of_this_name\n", r"cannot be imported: broken\.py:1: ModuleNotFoundError"),
        ("x = (\n", r"cannot be imported: broken\.py:1: SyntaxError"),
        ("\n\n1 / 0\n", r"cannot be imported: broken\.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(1)\n", r"cannot be imported: broken\.py:2: SystemExit: 1"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "broken.py").write_text(content)
    with pytest.raises(HookError, match=words):
        load_class(Hook(module=str(tmp_path / "broken.py"), name="Hook"))


def content(storage: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "hooked",
        "storage": str(storage),
        "data": {"name": "digits", "limit": 100},
        "space": {
            "backbone": "cnn4",
            "cnn_bn": True,
            "cnn_dropout": 0.0,
            "enc_on": False,
            "rnn": "none",
            "pool_head": "flatten",
            "fc": "-",
            "dropout": 0.0,
            "lr": [0.01, 0.02, 0.03],
        },
        "train": {"epochs": 1, "batch": 16, "precision": "float32"},
        "search": {"trials": 1, "scheduler": "none", "sampler": "random"},
        "resources": {"runner": "inline"},
        "tracking": {"enabled": False},
        **more,
    }


def test_a_study_file_names_hooks_beside_it(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content(tmp_path, hooks=["my_hooks.py:Quiet", "package.module:Class"])))
    study = load_study(path)
    assert study.hooks == (f"{file}:Quiet", "package.module:Class")
    assert list(hook_import_faults(study)) == [
        "hooks.1: cannot be imported: ModuleNotFoundError: No module named 'package'"
    ]
    path.write_text(yaml.safe_dump(content(tmp_path, hooks=["my_hook.py:Quiet", "x", "x"])))
    with pytest.raises(StudyError) as found:
        load_study(path)
    assert [line.partition("study.yaml: ")[2] for line in found.value.faults] == [
        f"hooks.0: expected a file, found none at {tmp_path}/my_hook.py; did you mean my_hooks.py?",
        'hooks.1: expected "my_hooks.py:Class" or "package.module:Class", found \'x\'',
        'hooks.2: expected "my_hooks.py:Class" or "package.module:Class", found \'x\'',
        "hooks.2: expected each class once, found x twice; remove one",
    ]


def test_the_same_fault_is_printed_once(study: Study, file: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content(tmp_path, hooks="my_hooks.py:Quiet")))
    settings = load_study(tmp_path / "study.yaml")
    ((name, hook),) = copies.hooks_of(settings).items()
    lines: list[str] = []
    follower = HookFollower(study.folder, settings, hook, name, lines.append)
    study.session()
    study.trial("a", num_epochs=3)
    assert follower.sync() == 6
    assert lines == [
        "on_epoch raised my_hooks.py:4: ValueError: epoch 1; the study goes on, and the same fault is not printed again"
    ]


def test_tensorboard_receives_the_curves(study: Study) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    hook = load_class(copies.TRACKERS["tensorboard"])()
    calls = HookCalls(study.folder, hook, study.folder / "t.json", name="my-study", settings={}, on_error=pytest.fail)
    study.session()
    study.trial("aaaabbbbcccc", num_epochs=3, accuracy=0.75)
    study.begin("d")
    study.epochs("d", 1, 1)
    calls.deliver()
    calls.close()
    runs = sorted(path.name for path in (study.folder / "tensorboard").iterdir())
    assert runs == ["trial-0-aaaabbbb", "trial-1-d"]
    found = accumulator.EventAccumulator(str(study.folder / "tensorboard" / "trial-0-aaaabbbb")).Reload()
    values = [(event.step, float(event.tensor_proto.float_val[0])) for event in found.Tensors("val_accuracy")]
    assert values == [(1, 0.75), (2, 0.75), (3, 0.75)]


@pytest.mark.slow
def test_wandb_receives_a_run_per_trial(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    hook = load_class(copies.TRACKERS["wandb"])()
    told: list[str] = []
    calls = HookCalls(
        study.folder,
        hook,
        study.folder / "w.json",
        name="my-study",
        settings={},
        on_error=lambda method, error: told.append(f"{method}: {error!r}"),
    )
    study.session()
    study.begin("a")
    study.begin("b")
    study.epochs("a", 1, 2)
    study.epochs("b", 1, 1)
    study.journal.end("a", Failed(reason="x"))
    calls.deliver()
    calls.close()
    assert told == []
    runs = [path.name.rpartition("-")[2] for path in (study.folder / "wandb").glob("offline-run-*")]
    assert sorted(runs) == ["a", "b"]


SLOW_HOOK = """
import time

class Notes:
    def __init__(self):
        self.file = open({file!r}, "a", buffering=1)

    def on_study_begin(self, study):
        print("study", study.name, study.is_resumed, file=self.file)

    def on_trial_end(self, trial):
        time.sleep(1)
        print("trial", trial.number, trial.outcome.word, file=self.file)
        raise RuntimeError("no network")
"""


@pytest.mark.slow
def test_a_sweep_calls_its_hooks_in_another_process(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    (tmp_path / "notes.py").write_text(SLOW_HOOK.format(file=str(notes)))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content(tmp_path / "runs", hooks=["notes.py:Notes"])))

    def call(*words: str) -> Any:
        return CliRunner().invoke(app, [*words], catch_exceptions=False)

    found = call("sweep", str(tmp_path / "study.yaml"))
    assert found.exit_code == 0, found.output
    assert notes.read_text() == "study hooked False\ntrial 0 completed\n"
    assert found.output.count("hook notes.py:Notes: on_trial_end raised notes.py:14: RuntimeError: no network") == 1
    notes.unlink()
    for command in ("status", "trials", "report"):
        assert call(command, str(tmp_path / "study.yaml"), "--json").exit_code == 0
    assert call("studies", str(tmp_path / "runs"), "--json").exit_code == 0
    assert not notes.exists()
    found = call("sweep", str(tmp_path / "study.yaml"), "--set", "search.trials=2")
    assert found.exit_code == 0, found.output
    assert notes.read_text() == "study hooked True\ntrial 1 completed\n"
    (tmp_path / "notes.py").write_text("1 / 0\n")
    for name in [name for name in sys.modules if name.startswith("hook_")]:
        del sys.modules[name]
    with pytest.raises(StudyError, match=r"hooks\.0: cannot be imported: notes\.py:1: ZeroDivisionError"):
        call("sweep", str(tmp_path / "study.yaml"), "--set", "search.trials=3")


def test_a_path_may_contain_colons() -> None:
    found = parse_hook("/runs/12:00/my_hooks.py:Notify")
    assert found is not None
    assert (found.module, found.name) == ("/runs/12:00/my_hooks.py", "Notify")
