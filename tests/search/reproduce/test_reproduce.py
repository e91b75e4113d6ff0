"""A reproduction from end to end, on stand-in images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.cli import main
from search.errors import InputError, StudyChangedError
from search.journal.reading import read_events, read_records
from search.reproduce.run import FOLDER, reproduce
from search.reproduce.setting import Options

pytestmark = pytest.mark.usefixtures("copied_here")

MakeOptions = Callable[..., Options]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `hybrid-search reproduce` in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybrid-search", "reproduce", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return run


def files_of(document: dict[str, Any]) -> Path:
    return Path(document["folder"]) / FOLDER


def test_every_cell_once_on_every_block(make_options: MakeOptions, count_epochs: list[tuple[str, int]]) -> None:
    document = reproduce("ecrnn", make_options("cnn", "control"))
    records = read_records(Path(document["folder"]))
    assert len(count_epochs) == len(records) == 4
    assert {tuple(record.blocks) for record in records.values()} == {("compare-0",), ("compare-1",)}
    points = [dict(record.point) for record in records.values()]
    assert sorted(point["enc_on"] for point in points) == [False, False, True, True]
    for row in document["cells"]:
        own = [record for record in records.values() if record.label.startswith(f"{row['cell']}, ")]
        assert row["scores"] == [record.val_accuracy for record in own]
        assert row["ours"] == pytest.approx(np.mean(row["scores"]))


def test_the_command_again_prints_again_and_trains_nothing(
    make_options: MakeOptions, count_epochs: list[tuple[str, int]]
) -> None:
    first = reproduce("ecrnn", make_options("cnn", "control"))
    del count_epochs[:]
    again = reproduce("ecrnn", make_options("cnn", "control"))
    assert not count_epochs
    assert again == first
    assert again["num_looks"] == 1
    events = read_events(Path(again["folder"]) / "journal.jsonl")
    assert [event["event"] for event in events].count("comparison") == 1


def test_a_killed_command_goes_on(
    make_options: MakeOptions,
    count_epochs: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    killed: type[BaseException],
) -> None:
    from search.runners.dispatcher import Dispatcher

    original, ended = Dispatcher._end, []

    def kill_after_two(self: Dispatcher, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        ended.append(args)
        if len(ended) == 2:
            raise killed

    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_end", kill_after_two)
        with pytest.raises(killed):
            reproduce("ecrnn", make_options("cnn", "control"))
    document = reproduce("ecrnn", make_options("cnn", "control"))
    assert [row["runs"] for row in document["cells"]] == [2, 2]
    assert len(count_epochs) == len(set(count_epochs)) == 4


@pytest.mark.slow
def test_more_repeats_and_cells_extend_the_same_table(
    make_options: MakeOptions, count_epochs: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce("ecrnn", make_options("cnn", "control"))
    document = reproduce("ecrnn", make_options("cnn", repeats=3))
    assert len(count_epochs) == 5
    # What was trained before stays in sight, and in the family.
    assert {row["cell"]: row["runs"] for row in document["cells"]} == {"cnn": 3, "control": 2}
    assert [family["size"] for family in document["families"]] == [1]
    assert document["num_looks"] == 2
    assert "asked for" not in capsys.readouterr().err
    # Fewer than there are: nobody may pick among them, and it is said why.
    fewer = reproduce("ecrnn", make_options("cnn", repeats=1))
    assert fewer["repeats"] == 3
    assert "--repeats 1 requested, but the table uses all 3 repeats trained here" in capsys.readouterr().err
    assert len(count_epochs) == 5


def test_what_is_written(make_options: MakeOptions) -> None:
    document = reproduce("ecrnn", make_options("cnn", "control"))
    folder = files_of(document)
    assert json.loads((folder / "reproduction.json").read_text()) == document
    text = (folder / "table.md").read_text()
    ours = f"{100 * document['cells'][1]['ours']:.2f}"
    assert f"| CNN with encoder-decoder, no RNN | ours  | validation | -          | {ours}" in text
    assert document["pictures"] == ["cells.png", "differences.png"]
    for name in document["pictures"]:
        assert np.asarray(Image.open(folder / name).convert("L")).std() > 5
    (event,) = [
        item for item in read_events(Path(document["folder"]) / "journal.jsonl") if item["event"] == "comparison"
    ]
    assert event["artifacts"][0] == f"{FOLDER}/table.md"
    assert event["metrics"]["cnn.validation"] == document["cells"][0]["ours"]


def test_what_was_scaled_down_is_said_and_has_a_folder_of_its_own(make_options: MakeOptions) -> None:
    document = reproduce("ecrnn", make_options("cnn", repeats=1, limit=36, seed=7))
    assert Path(document["folder"]).name == "reproduce-ecrnn-cifar10-limit36-epochs1-seed7"
    changes = {item["field"]: (item["shipped"], item["here"]) for item in document["changes"]}
    assert changes["data.limit"] == (None, 36)
    assert changes["train.epochs"] == (30, 1)
    assert changes["seed"] == (0, 7)
    assert "data.root" not in changes
    assert sum(document["images"][part] for part in ("training", "validation")) == 36
    assert "(one run)" in (files_of(document) / "table.md").read_text()


def test_another_setting_in_the_same_folder_is_refused(make_options: MakeOptions) -> None:
    reproduce("ecrnn", make_options("cnn", repeats=1))
    with pytest.raises(StudyChangedError, match=r"train.lr was 0.001 when .* give the study another name"):
        reproduce("ecrnn", make_options("cnn", repeats=1, overrides=("train.lr=0.01",)))
    document = reproduce("ecrnn", make_options("cnn", repeats=1, overrides=("train.lr=0.01", "name=slow")))
    assert document["study"] == "slow"


def test_the_command_line(call: Call, settings: tuple[str, ...], tmp_path: Path) -> None:
    words = ("ecrnn", "--cells", "cnn,control", "--repeats", 2, "--epochs", 1, "--storage", tmp_path)
    overrides = [word for setting in settings for word in ("--set", setting)]
    code, out, err = call(*words, *overrides)
    assert code == 0
    assert "| CNN " in out
    assert "4/4 repeats" in err
    assert "table.md" in out
    code, out, _ = call(*words, *overrides, "--json")
    assert code == 0
    assert [row["cell"] for row in json.loads(out)["cells"]] == ["cnn", "control"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("ecrn",), "expected a paper, found 'ecrn'; did you mean ecrnn?"),
        (
            ("ecrnn", "--cells", "contol"),
            "--cells: expected a cell or group of ecrnn, found 'contol'; did you mean control",
        ),
        (("yilmaz", "--data", "caltech"), "did you mean caltech101?"),
        (("ecrnn", "--root", "/nowhere"), "/nowhere"),
        (("ecrnn", "--images", "one"), "--images: expected whole numbers such as 0,1,2, found 'one'"),
        (("ecrnn", "--set", "train.epoch=1"), "did you mean epochs"),
    ],
)
def test_wrong_input_is_one_line(call: Call, words: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    code, out, err = call(*words, "--storage", tmp_path, "--set", "resources.runner=inline")
    assert code == 2
    assert fault in err
    assert not out
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_images_belong_to_a_paper_with_saliency(make_options: MakeOptions) -> None:
    with pytest.raises(InputError, match=r"--images: expected a paper with saliency maps, found ecrnn"):
        reproduce("ecrnn", make_options("cnn", images=(0,)))


def test_a_table_is_made_once(make_options: MakeOptions) -> None:
    overrides = ("compare.interim=2", "compare.estimand=this-data")
    options = make_options("cnn", "control", repeats=10, overrides=overrides)
    with pytest.raises(InputError, match=r"compare\.interim: a paper's table is made once, after all repeats; remove"):
        reproduce("ecrnn", options)
    assert options.storage is not None
    assert not Path(options.storage).exists()
