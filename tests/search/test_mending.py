"""Whatever happened to Optuna's study: the journal's trials are put back, and the sweep goes on undisturbed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.errors import ProposalsError, StudyError
from search.optuna_log import DAMAGED, FILE_NAME
from search.proposals import Owner, known_trials, open_storage, read_study
from search.reconcile import Cure, Difference, optuna_differences
from search.records import Completed, EpochMetrics, Failed, Stopped, TrialRecord
from search.sampler import Sampler
from spaces.space import Point, Space

SPACE = Space.from_dict(
    "small",
    {
        "cell": ["none", "gru"],
        "nodes": {"int": [1, 12], "when": {"cell": "gru"}},
        "lr": {"float": [0.01, 1.0], "log": True},
        "fixed": "same",
    },
)
NUM = 8


def why_not(point: Point) -> str | None:
    """Some proposals are rejected."""
    return "too even" if int(point.get("nodes", 1)) % 2 == 0 else None


class History:
    """A sweep of some trials in one storage, and what the journal says of it."""

    def __init__(
        self, folder: Path, kind: str, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
    ) -> None:
        self.folder, self.kind = folder, kind
        folder.mkdir()
        self.storage: Path | str = folder if kind == "file" else f"sqlite:///{folder / 'optuna.db'}"
        self.records: dict[str, TrialRecord] = {}
        self.said: list[str] = []
        self._make_record, self._make_epoch = make_record, make_epoch

    @property
    def file(self) -> Path:
        return self.folder / (FILE_NAME if self.kind == "file" else "optuna.db")

    def open(self, **options: Any) -> Sampler:
        values: dict[str, Any] = {"seed": 4, "startup_trials": 3, "study_name": "s", "method": "tpe", **options}
        return Sampler(space=SPACE, storage=self.storage, say=self.said.append, why_not=why_not, **values)

    def go_on(self, sampler: Sampler, num: int) -> None:
        for _ in range(num):
            asked = sampler.ask()
            assert asked is not None
            number, point = asked
            index = len(self.records)
            curve = tuple(self._make_epoch(epoch, ((7 * index + epoch) % 11) / 11) for epoch in (1, 2))
            outcome = (Completed(), Completed(), Stopped(epoch=2), Failed(reason="broke"))[index % 4]
            sampler.tell(number, curve, outcome)
            self.records[f"k{index}"] = self._make_record(
                f"k{index}", number=number, point=dict(point), curve=curve, outcome=outcome, finished_at=110.0
            )

    def trials(self) -> dict[int, tuple[Any, ...]]:
        study = read_study(self.storage, "s")
        assert study is not None
        return {
            item.number: (item.state, item.value, dict(item.params), dict(item.curve), item.whole)
            for item in known_trials(study)
        }

    def differences(self) -> list[Difference]:
        study = read_study(self.storage, "s")
        return optuna_differences(self.records, [] if study is None else known_trials(study))


@pytest.fixture(params=["file", "database"])
def history(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., EpochMetrics],
) -> History:
    """Eight trials, in both kinds of storage."""
    made = History(tmp_path / "study", request.param, make_record, make_epoch)
    made.go_on(made.open(), NUM)
    return made


@pytest.fixture
def on_file(
    tmp_path: Path, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> History:
    """Eight trials in a log file."""
    made = History(tmp_path / "study", "file", make_record, make_epoch)
    made.go_on(made.open(), NUM)
    return made


def next_points(history: History, sampler: Sampler, num: int = 4) -> list[tuple[int, dict[str, Any]]]:
    """What is proposed next, each told before the next one is asked for."""
    before = len(history.records)
    history.go_on(sampler, num)
    return [(item.number, dict(item.point)) for item in list(history.records.values())[before:]]


def ours(history: History) -> dict[int, tuple[Any, ...]]:
    """The trials that the journal knows."""
    numbers = {record.number for record in history.records.values()}
    return {number: trial for number, trial in history.trials().items() if number in numbers}


def check_mended(history: History, undisturbed: Path) -> list[Difference]:
    """Open, mend, and compare with a copy that nothing happened to: its trials, and what both propose next."""
    calm = History(undisturbed, history.kind, history._make_record, history._make_epoch)
    calm.records = dict(history.records)
    shutil.copy(history.folder / "whole", calm.file)
    sampler = history.open()
    found = sampler.reconcile(history.records)
    assert history.differences() == []
    assert ours(history) == ours(calm)
    assert sampler.reconcile(history.records) == []
    assert next_points(history, sampler) == next_points(calm, calm.open())
    return found


@pytest.fixture
def keep(history: History) -> None:
    """A copy for later."""
    shutil.copy(history.file, history.folder / "whole")


@pytest.mark.usefixtures("keep")
def test_an_undisturbed_study_is_left_alone(history: History, tmp_path: Path) -> None:
    assert any("rejected" in trial.user_attrs for trial in _trials(history)), "no proposal was rejected: a weak test"
    before = history.file.read_bytes()
    assert history.differences() == []
    assert history.file.read_bytes() == before
    assert check_mended(history, tmp_path / "calm") == []
    assert history.said == []


@pytest.mark.parametrize("many", [2, 20])
@pytest.mark.usefixtures("keep")
def test_a_study_that_was_deleted_is_put_back(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("search.mending.MANY", many)
    history.file.unlink()
    found = check_mended(history, tmp_path / "calm")
    assert [item.number for item in found] == [record.number for record in history.records.values()][:NUM]
    assert {item.cure for item in found} == {Cure.ADD}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a half line": lambda text: text + b'{"op_code":5,"worker_id":"x","tri',
    "a line without its end": lambda text: text[:-1],
    "half of the last line": lambda text: text[:-20],
    "most lines lost": lambda text: b"".join(text.splitlines(keepends=True)[: text.count(b"\n") // 3]),
    "empty": lambda _: b"",
    "rubbish in the middle": lambda text: _with_line(text, text.count(b"\n") // 2, b"\x00\x00 rubbish\n"),
    "two lines grown together": lambda text: _with_line(text, 30, text.splitlines()[30][:9] + text.splitlines()[31]),
    "a line that means nothing": lambda text: _with_line(text, 40, b'{"op_code":77}\n'),
    "JSON that is no operation": lambda text: _with_line(text, 40, b"[1, 2]\n"),
    "rubbish at the start": lambda text: b"rubbish\n" + text,
    "zeros at the end": lambda text: text[:-40] + b"\x00" * 40,
}


def _with_line(text: bytes, index: int, line: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[:index], line, *lines[index + 1 :]])


def _trials(history: History) -> list[optuna.trial.FrozenTrial]:
    study = read_study(history.storage, "s")
    assert study is not None
    return study.get_trials()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_log_is_mended(on_file: History, tmp_path: Path, damage: str) -> None:
    shutil.copy(on_file.file, on_file.folder / "whole")
    on_file.file.write_bytes(DAMAGES[damage](on_file.file.read_bytes()))
    broken = on_file.file.read_bytes()
    check_mended(on_file, tmp_path / "calm")
    damaged = on_file.folder / DAMAGED
    in_the_middle = any(word in damage for word in ("middle", "together", "nothing", "no operation", "start"))
    assert damaged.exists() == in_the_middle
    if in_the_middle:
        assert damaged.read_bytes() == broken
        assert len(on_file.said) == 1
        assert "set aside as optuna.log.damaged, what is missing comes from the journal" in on_file.said[0]
    else:
        assert on_file.said == []


@pytest.mark.parametrize("num_before", [0, 3])
def test_a_database_restored_from_an_older_backup(
    tmp_path: Path,
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., EpochMetrics],
    num_before: int,
) -> None:
    history = History(tmp_path / "study", "database", make_record, make_epoch)
    history.go_on(history.open(), num_before)
    shutil.copy(history.file, tmp_path / "backup")
    history.go_on(history.open(), NUM - num_before)
    shutil.copy(history.file, history.folder / "whole")
    shutil.copy(tmp_path / "backup", history.file)
    assert len(check_mended(history, tmp_path / "calm")) == NUM - num_before


@pytest.mark.parametrize("change", ["state", "value", "curve", "point"])
@pytest.mark.usefixtures("keep")
def test_what_is_finished_and_wrong_is_written_again(history: History, tmp_path: Path, change: str) -> None:
    right = history.records["k1"]
    wrong = {
        "state": replace(right, outcome=Stopped(epoch=2)),
        "value": replace(right, curve=(right.curve[0], replace(right.curve[1], val_accuracy=0.123))),
        "curve": replace(right, curve=(replace(right.curve[0], val_accuracy=0.123), right.curve[1])),
        "point": replace(right, point=history.records["k0"].point),
    }[change]
    told = History(tmp_path / "told", history.kind, history._make_record, history._make_epoch)
    told.open().reconcile(history.records | {"k1": wrong})
    shutil.copy(told.file, history.file)
    (difference,) = history.differences()
    assert (difference.number, difference.cure) == (right.number, Cure.REWRITE)
    assert check_mended(history, tmp_path / "calm") == [difference]


@pytest.mark.usefixtures("keep")
def test_a_trial_of_which_the_journal_lost_everything_is_proposed_again(history: History) -> None:
    lost = history.records.pop("k5")
    sampler = history.open()
    (difference,) = sampler.reconcile(history.records)
    assert (difference.journal, difference.cure) == ("never began", Cure.REWRITE)
    assert history.trials()[lost.number][0] == "RUNNING"
    asked = sampler.ask()
    assert asked is not None
    assert (asked[0], dict(asked[1])) == (lost.number, dict(lost.point))
    sampler.tell(lost.number, lost.curve, Failed(reason="broke"))
    history.records["k5"] = replace(lost, outcome=Failed(reason="broke"))
    assert history.differences() == []


@pytest.mark.parametrize("num_epochs", [0, 1, 2], ids=["begin alone is left", "an epoch is lost", "the end is lost"])
def test_a_journal_that_lost_its_end_makes_the_trial_run_again(history: History, num_epochs: int) -> None:
    whole = history.records["k5"]
    history.records["k5"] = replace(whole, outcome=None, curve=whole.curve[:num_epochs])
    sampler = history.open()
    (difference,) = sampler.reconcile(history.records)
    assert difference.journal == f"unfinished after {num_epochs} epochs"
    assert history.trials()[whole.number][:2] == ("RUNNING", None)
    history.records["k5"] = whole
    assert whole.outcome is not None
    sampler.tell(whole.number, whole.curve, whole.outcome)
    assert history.differences() == []
    trial = sampler._study.get_trials()[whole.number]
    assert set(trial.params) == {name for name in whole.point if name != "fixed"}


def test_twins_are_neither_unknown_nor_lost(history: History) -> None:
    """A point that is the training of another one, too: it has no record, and keeps its state."""
    sampler = history.open()
    asked = sampler.ask()
    assert asked is not None
    original = history.records["k0"]
    assert original.outcome is not None
    sampler.tell(asked[0], original.curve, original.outcome, twin="k0")
    assert history.differences() == []
    assert history.open().reconcile(history.records) == []
    # Where its study is written again, the twin stays.
    before = history.trials()[asked[0]]
    lost = history.records.pop("k5")
    history.open().reconcile(history.records)
    assert history.trials()[asked[0]] == before
    assert history.trials()[lost.number][0] == "RUNNING"


def test_a_proposal_cut_in_half_and_one_that_was_queued(history: History) -> None:
    expected = next_points(history, history.open(), 1)
    history.records.popitem()
    study = history.open()._study
    number = len(study.get_trials())
    study.enqueue_trial({"cell": "none"})
    study.enqueue_trial({"cell": "none"})
    study.ask().suggest_categorical("cell", ["none", "gru"])
    found = history.differences()
    assert [(item.number, item.found) for item in found[-2:]] == [
        (number, "RUNNING, half proposed"),
        (number + 1, "WAITING, half proposed"),
    ]
    sampler = history.open()
    sampler.reconcile(history.records)
    assert [history.trials()[place][0] for place in (number, number + 1)] == ["FAIL", "FAIL"]
    asked = sampler.ask()
    assert asked is not None
    assert dict(asked[1]) == expected[0][1]  # the trial that the journal lost, under its number
    assert asked[0] == expected[0][0]


def test_rejections_in_a_row_are_counted_over_a_kill(
    tmp_path: Path, make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> None:
    """A kill between two rejected proposals changes none of the next."""
    calm = History(tmp_path / "calm", "file", make_record, make_epoch)
    calm.go_on(calm.open(method="random"), 12)
    killed = History(tmp_path / "killed", "file", make_record, make_epoch)
    sampler = killed.open(method="random")
    while len(killed.records) < 12:
        asked = sampler._draw()
        if asked is not None:
            sampler.unbegun = [asked]
            killed.go_on(sampler, 1)
        sampler = killed.open(method="random")
    assert killed.trials() == calm.trials()


OWNER = Owner(journal="aa11", folder="/data/a/s", node="node-1")


def test_a_shared_database_keeps_two_studies_of_one_name_apart(tmp_path: Path, history: History) -> None:
    history.open(owner=OWNER)
    other = Owner(journal="bb22", folder="/data/b/s", node="node-2")
    if history.kind == "file":
        sampler = history.open(owner=other)
        assert sampler._study.get_trials() == []
        assert (history.folder / DAMAGED).is_file()
        assert history.said == [f"{history.file}: belongs to another journal; set aside as {DAMAGED}"]
        return
    with pytest.raises(StudyError, match=r"study s belongs to /data/a/s on node-1; rename this study") as caught:
        history.open(owner=other)
    assert "\n" not in str(caught.value)
    assert len(history.trials()) >= NUM


def test_a_folder_that_moved_is_still_the_owner(history: History) -> None:
    history.open(owner=OWNER)
    moved = replace(OWNER, folder="/elsewhere/s", node="node-3")
    assert history.open(owner=moved).reconcile(history.records) == []
    study = read_study(history.storage, "s")
    assert study is not None
    assert study.user_attrs["owner"] == {"journal": "aa11", "folder": "/elsewhere/s", "node": "node-3"}
    assert history.said == []


@pytest.mark.parametrize("history", ["database"], indirect=True)
def test_a_database_is_claimed_by_one_of_two(tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find an empty study; the second one writes its name while the first one waits."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    other = Owner(journal="bb22", folder="/data/b/s", node="node-2")

    def meanwhile(_: float) -> None:
        optuna.load_study(study_name="s", storage=url).set_user_attr("owner", other.__dict__)

    monkeypatch.setattr("search.proposals.time.sleep", meanwhile)
    history.storage = url
    with pytest.raises(StudyError, match="belongs to /data/b/s on node-2"):
        history.open(owner=OWNER)


def test_a_lock_that_a_kill_left_is_broken(on_file: History) -> None:
    lock = Path(f"{on_file.file}.lock")
    lock.touch()
    asked = on_file.open().ask()
    assert asked is not None
    assert not lock.exists()


def test_a_full_disk_is_one_line_and_the_same_study_goes_on(
    on_file: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import JournalFileBackend

    shutil.copy(on_file.file, on_file.folder / "whole")
    append = JournalFileBackend.append_logs

    def full(self: Any, logs: list[dict[str, Any]]) -> None:
        with Path(self._file_path).open("ab") as stream:
            stream.write(json.dumps(logs[0]).encode()[:12])
        raise OSError(28, "No space left on device")

    sampler = on_file.open()
    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(ProposalsError, match=r"optuna\.log: cannot be read or written \(No space left") as caught:
            sampler.ask()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert JournalFileBackend.append_logs is append
    check_mended(on_file, tmp_path / "calm")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    assert read_study(tmp_path, "s") is None
    assert read_study(f"sqlite:///{tmp_path / 'none.db'}", "s") is None
    assert list(tmp_path.iterdir()) == []
    open_storage(tmp_path)
    assert read_study(tmp_path, "s") is None
