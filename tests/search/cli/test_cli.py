"""The command line as a person meets it: right input, and every kind of wrong input."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from search.cli import main
from search.errors import EXIT_DONE, EXIT_INPUT
from search.study.load import load_study

pytestmark = pytest.mark.usefixtures("undrawn", "copied_here")

COMMANDS = (
    "demo",
    "plan",
    "sweep",
    "status",
    "compare",
    "report",
    "export",
    "predict",
    "models",
    "data",
    "ui",
    "reproduce",
    "analyze",
    "trials",
    "stop",
    "enqueue",
    "extend",
    "pause",
    "studies",
    "archive",
    "delete",
    "schema",
)
HEAVY = {
    "search.cli": ("torch", "ray", "mlflow", "optuna", "pydantic", "matplotlib"),
    "search.sweep.run": ("torch", "ray", "mlflow", "optuna", "scipy", "matplotlib"),
}
"""What each module does not bring along: its user would wait seconds for it."""


@dataclasses.dataclass
class Shown:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Run a command line in this process: `call("plan", path, "--json")`."""

    def run(*words: object) -> Shown:
        monkeypatch.setattr(sys, "argv", ["hybrid-search", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        return Shown(code=int(caught.value.code or 0), out=shown.out, err=shown.err)

    return run


@pytest.fixture
def content(study_data: dict[str, Any]) -> dict[str, Any]:
    """A study that takes a second or two."""
    return {
        **study_data,
        "data": {"name": "digits", "limit": 60},
        "train": {"epochs": 1, "batch": 16, "precision": "float32"},
        "search": {"trials": 2, "scheduler": "none", "startup_trials": 2},
        "compare": {"baselines": ["ecrnn/cnn"], "repeats": 2},
    }


@pytest.fixture
def write(tmp_path: Path, content: dict[str, Any]) -> Callable[..., Path]:
    """Write the study file, sections replaced as told."""

    def make(**sections: Any) -> Path:
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump({**content, **sections}, sort_keys=False))
        return path

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; empty folders count as well."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def assert_refused(shown: Shown, *words: str) -> None:
    """Exit code 2, one line per fault, nothing else."""
    assert shown.code == EXIT_INPUT, shown
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines
    assert all(line.startswith("error: ") and len(line) > len("error: ") for line in lines), shown.err
    assert "Traceback" not in shown.err
    for word in words:
        assert word in shown.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"serach": {}}, ("serach: unknown key; did you mean search?",)),
    "two faults": ({"seed": -1, "nme": 1}, ("seed: must be greater than or equal to 0, got -1", "nme: unknown key")),
    "wrong type": ({"train": {"epochs": "three"}}, ("train.epochs: expected a whole number, got 'three'",)),
    "impossible range": ({"train": {"epochs": 0}}, ("train.epochs must be at least 1, got 0",)),
    "impossible domain": (
        {"fix": {"lr": 0.5}},
        ("fix.lr: expected a number from 0.0005 to 0.02 (log), found 0.5",),
    ),
    "unknown preset": (
        {"compare": {"baselines": ["ecrnn/cn"]}},
        ("compare.baselines.0: no preset is called 'ecrnn/cn'; did you mean ecrnn/cnn",),
    ),
    "unknown space": ({"space": "ecrn"}, ("space: no space is called 'ecrn'; did you mean ecrnn?",)),
    "empty space": (
        {"space": {"rnn": ["none", "gru"], "forbidden": [{"when": {"rnn": ["none", "gru"]}, "why": "all"}]}},
        ("space: expected at least one possible point, found none",),
    ),
    "missing data": (
        {"data": {"name": "folder", "root": "/nowhere/at/all"}},
        ("data.root /nowhere/at/all: ", "it does not exist"),
    ),
    "GPU asked and none there": (
        {"resources": {"runner": "inline", "gpus": 1}},
        ("resources.gpus: 1 requested, but this machine has none; set it to 0",),
    ),
    "enqueued point outside the space": (
        {"search": {"trials": 2, "enqueue": ["ecrnn/crnn-lstm-16"]}},
        ("search.enqueue.0 (ecrnn/crnn-lstm-16): ", "rnn: expected one of none, gru, found lstm"),
    ),
    "no validation part": (
        {"split": {"method": "none"}},
        ("split.method: expected random or stratified for a sweep, found none; a sweep ranks",),
    ),
    "batch above the training part": (
        {"train": {"epochs": 1, "batch": 64}},
        ("train.batch: expected at most the 42 images of the training part, found 64; lower it",),
    ),
    "baseline that is no model": (
        {"compare": {"baselines": [{"rnn": "gru"}]}},
        ("compare.baselines.0: backbone: expected a value because family is hybrid, found none",),
    ),
}


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words_and_leaves_nothing(
    call: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, command: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sections, words = BAD[case]
    path = write(**sections)
    before = tree(tmp_path)
    assert_refused(call(command, path), *words)
    assert_refused(call(command, path, "--json"), *words)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_unreadable_images_are_named(call: Any, write: Any, tmp_path: Path, command: str) -> None:
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{command}{number}.png")
    bad = tmp_path / "pets" / "cats" / f"{command}2.png"
    bad.write_bytes(bad.read_bytes()[:40])
    path = write(data={"name": "folder", "root": str(tmp_path / "pets")})
    before = tree(tmp_path)
    shown = call(command, path)
    shown.err = re.sub(r"^(?!error).*decoding.*\n?", "", shown.err, flags=re.MULTILINE)
    assert_refused(shown, f"{bad}: not a readable image")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_storage_in_whose_way_a_file_stands(call: Any, write: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("in the way")
    path = write(storage=str(tmp_path / "file" / "runs"))
    before = tree(tmp_path)
    assert_refused(call(command, path), "storage: ", "cannot be written", "choose another storage")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_tracking_server_that_refuses(call: Any, write: Any, tmp_path: Path, command: str) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    path = write(tracking={"uri": uri})
    before = tree(tmp_path)
    assert_refused(call(command, path), f"{uri}: connection refused; start the server, or correct the address")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", ["status", "compare", "report", "export", "ui"])
def test_commands_that_need_a_sweep_say_so(call: Any, write: Any, tmp_path: Path, command: str) -> None:
    path = write()
    before = tree(tmp_path)
    more = ["--to", tmp_path / "out"] if command == "export" else []
    assert_refused(call(command, path, *more), "no study here yet; run `hybrid-search sweep` first")
    assert tree(tmp_path) == before


def test_other_verbs_name_what_is_wrong(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # studies in the working folder would be offered
    assert_refused(call("plan", tmp_path / "none.yaml"), "no such study file; shipped ones: ", "demo.yaml")
    assert_refused(call("plan", tmp_path), "expected a study file, found a folder")
    assert_refused(call("models", "ecrnn/cn"), "no preset is called 'ecrnn/cn'; did you mean ecrnn/cnn")
    assert_refused(
        call("data", "digit"),
        "name must be one of digits, cifar10, caltech101, tiny-imagenet, imagenet, folder, npz, got 'digit'",
    )
    assert_refused(call("data", "folder"), "root must name the folder of the images")
    assert_refused(call("data", "folder", "--root", tmp_path / "none"), "it does not exist")
    assert_refused(call("predict", tmp_path, tmp_path / "a.png"), "not an export")
    assert list(tmp_path.iterdir()) == []


def test_plan_says_how_many_repeats_a_difference_takes(call: Any, write: Any) -> None:
    shown = call("plan", write(), "--difference", "0.2", "--sd-repeats", "0.05", "--discordance", "0.1", "--json")
    assert shown.code == EXIT_DONE, shown.err
    foresight = shown.document["foresight"]
    assert foresight["difference"] == 0.2
    assert foresight["num_blocks"] >= 3
    assert foresight["num_images"] == shown.document["num_test"]
    assert_refused(call("plan", write(), "--difference", "2"), "--difference: expected a fraction above 0 and below 1")
    shown = call("plan", write(), "--discordance", "-1", "--sd-repeats", "nan")
    assert_refused(shown, "--sd-repeats: expected a fraction", "--discordance: expected a fraction", "found -1")


@pytest.mark.parametrize("words", [("swep",), ("sweep",), ("plan", "a", "--jsn"), ("compare", "a", "--repeats", "0")])
def test_a_wrong_command_is_a_usage_fault(call: Any, words: tuple[str, ...]) -> None:
    shown = call(*words)
    assert shown.code == EXIT_INPUT
    assert shown.out == ""
    assert "Error" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(call: Any, command: str) -> None:
    shown = call(command, "--help")
    assert shown.code == EXIT_DONE
    assert f"hybrid-search {command}" in shown.out
    assert shown.err == ""


def test_the_list_of_verbs_is_whole(call: Any) -> None:
    out = call("--help").out
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\s", out, re.MULTILINE), command
    listed = out.partition("Commands:")[2].strip().splitlines()
    assert sorted(line.split()[0] for line in listed) == sorted(COMMANDS), "one line each"
    assert not [line for line in listed if line.endswith("...") or len(line) > 80]


@pytest.mark.parametrize("module", HEAVY)
def test_nothing_heavy_is_imported(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY[module]!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("words", ["sweep my.yaml", "compare my.yaml", "demo"])
def test_a_terminal_shows_something_before_anything_heavy_is_loaded(words: str) -> None:
    loaded = f"[name for name in {HEAVY['search.sweep.run']!r} if name in sys.modules]"
    script = (
        "import sys, search.cli.app as app\n"
        f"def step(words): sys.exit(words + ': ' + str({loaded}))\n"
        "app.print_step = step\n"
        "app.main()"
    )
    run = subprocess.run([sys.executable, "-c", script, *words.split()], capture_output=True, text=True, check=False)
    assert run.stderr.strip() in {"reading my.yaml: []", "loading the program: []"}


@pytest.fixture
def swept(call: Any, write: Any) -> Path:
    """A study file whose sweep is over."""
    path: Path = write()
    shown = call("sweep", path, "--json")
    assert shown.code == EXIT_DONE, shown.err
    assert shown.document["trials"]["completed"] == 2
    return path


def test_a_changed_study_is_refused_by_field(call: Any, write: Any, swept: Path, tmp_path: Path) -> None:
    write(seed=4, fix={"rnn": "gru"})
    before = tree(tmp_path)
    for command in ("plan", "sweep"):
        shown = call(command, swept)
        assert_refused(shown, "seed was 3 when the sweep started and is 4 now", "fix.rnn was not set")
        assert len(shown.err.splitlines()) == 2
    assert tree(tmp_path) == before
    write(compare={"baselines": [{"rnn": "gru"}]})
    named = ("--set", "compare.baselines=[{rnn: gru}]", "--set", "compare.repeats=10")
    assert_refused(call("compare", swept, *named), "compare.baselines.0: backbone: expected")


def test_importance_of_few_trials(call: Any, swept: Path) -> None:
    shown = call("status", swept, "--importance")
    assert shown.code == EXIT_DONE
    assert "too few trials" in shown.out
    assert "Importance is no claim" in shown.out
    assert call("status", swept, "--importance", "--json").document["trials"]["completed"] == 2
    assert_refused(call("status", swept, "--importance", "--check"), "expected one of them, found both")


def test_status_loads_nothing_that_it_does_not_need(swept: Path) -> None:
    script = (
        "import sys; from search.cli import main\n"
        "try: main()\n"
        "except SystemExit as error: code = error.code\n"
        "print(code, [name for name in ('torch', 'optuna', 'matplotlib', 'sklearn', 'search.journal.importance')"
        " if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script, "status", swept], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 []"


def test_ui_on_a_taken_port(call: Any, swept: Path) -> None:
    assert_refused(call("ui", swept), "tracking.enabled is false")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = call("ui", swept, "--port", port, "--set", "tracking.enabled=true")
    assert_refused(shown, f"cannot listen on 127.0.0.1:{port}", "choose another --port")


def test_the_whole_path(call: Any, swept: Path, tmp_path: Path) -> None:
    def ask(*words: object) -> Any:
        shown = call(*words, "--json")
        assert shown.code == EXIT_DONE, shown.err
        return shown.document

    plan = ask("plan", swept)
    assert (plan["study"], plan["trials"], plan["epochs"], plan["tracking"]) == ("tiny", 2, 1, "off")
    again = ask("sweep", swept)
    status = ask("status", swept)
    assert again == status
    assert status["trials"] == {
        "planned": 2,
        "completed": 2,
        "stopped": 0,
        "failed": 0,
        "infeasible": 0,
        "unfinished": 0,
        "waiting": 0,
    }
    comparison = ask("compare", swept)
    assert len(comparison["blocks"]) == 2
    (verdict,) = comparison["comparisons"]
    compared = ask("status", swept)
    assert compared["verdicts"] == [verdict["sentence"]]
    assert status["selection"]["confirmed_unknown"] == "no comparison yet, run `hybrid-search compare`"
    assert compared["selection"] == comparison["selection"]
    assert comparison["selection"]["confirmed_score"]["num_repeats"] == 2
    report = ask("report", swept)
    assert report["verdicts"] == [verdict["sentence"]]
    assert "per class (number of test images): 10 classes" in Path(report["file"]).read_text().lower()
    folder = tmp_path / "winner"
    exported = ask("export", swept, "--to", folder)
    assert exported["folder"] == str(folder)
    assert exported["registered"] is None
    image = tmp_path / "some.png"
    Image.fromarray(np.full((9, 7), 200, dtype=np.uint8)).save(image)
    assert (exported["alias"], exported["problem"], exported["state"]) == (None, None, compared["choice"]["state"])
    assert exported["name"] == compared["choice"]["name"] == comparison["choice"]["name"]
    answer = ask("predict", folder, image)
    assert answer["errors"] == []
    (prediction,) = answer["predictions"]
    assert prediction["path"] == str(image)
    assert prediction["label"] in map(str, range(10))
    for words in (("plan", swept), ("status", swept), ("predict", folder, image)):
        shown = call(*words)
        assert shown.code == EXIT_DONE
        assert shown.out.strip()


def test_predict_goes_on_past_what_it_cannot_read(call: Any, swept: Path, tmp_path: Path) -> None:
    folder, images = tmp_path / "winner", tmp_path / "images"
    assert call("export", swept, "--to", folder).code == EXIT_DONE
    images.mkdir()
    Image.fromarray(np.full((9, 7), 200, dtype=np.uint8)).save(images / "b.png")
    (images / "a\x1b[31m.png").write_text("no image")
    missing = tmp_path / "missing.png"
    shown = call("predict", folder, missing, images)
    assert shown.code == EXIT_INPUT
    assert [line.partition(": ")[0] for line in shown.out.splitlines()] == [str(images / "b.png")]
    first, second = shown.err.splitlines()
    assert first.startswith(f"error: {missing}: cannot be read (No such file or directory)")
    assert second.startswith(f"error: {images}/a\\x1b[31m.png: not a readable image")
    shown = call("predict", folder, missing, images, "--json")
    assert shown.code == EXIT_INPUT
    assert [item["path"] for item in shown.document["predictions"]] == [str(images / "b.png")]
    assert [item["path"] for item in shown.document["errors"]] == [str(missing), str(images / "a\x1b[31m.png")]


@pytest.mark.slow
def test_a_forgotten_set_is_refused_where_something_is_trained_and_said_elsewhere(
    call: Any, write: Any, content: dict[str, Any], tmp_path: Path
) -> None:
    path = write(compare={**content["compare"], "repeats": 7})
    sets = ("--set", "compare.repeats=2", "--set", "train.epochs=2", "--set", "resources.concurrency=1")
    assert call("sweep", path, *sets).code == EXIT_DONE
    before = tree(tmp_path)
    words = (
        "train.epochs was 2 when the study ran and is 1 in",
        "compare.repeats was 2 when the study ran and is 7 in",
        "choose one: --set compare.repeats=2 or --set compare.repeats=7",
    )
    assert_refused(call("compare", path), *words)
    assert_refused(call("compare", path, "--repeats", "7"), words[0])
    for command in (("status",), ("export", "--to", tmp_path / "winner"), ("report", "--to", tmp_path / "page.html")):
        shown = call(command[0], path, *command[1:])
        assert shown.code == EXIT_DONE
        assert [line for line in shown.err.splitlines() if line.startswith("note: ")] == [
            line for line in shown.err.splitlines() if any(word in line for word in words)
        ]
        assert all(word in shown.err for word in words)
    assert {name: text for name, text in tree(tmp_path).items() if name in before and "report" not in name} == {
        name: text for name, text in before.items() if "report" not in name
    }
    assert "note: " not in call("status", path, *sets).err
    document = call("compare", path, *sets, "--json").document
    assert len(document["blocks"]) == 2
    # What is named on the command line is recorded, and said.
    shown = call("compare", path, *sets, "--repeats", "3", "--json")
    assert len(shown.document["blocks"]) == 3
    assert "tiny: compare.repeats was 2 and is 3 from now on" in shown.err
    assert len(call("compare", tmp_path / "runs" / "tiny", "--json").document["blocks"]) == 3


def test_three_scores_stand_together_and_nothing_is_called_best(call: Any, swept: Path, tmp_path: Path) -> None:
    names = ("selection score", "corrected score", "score on fresh repeats")
    before = call("status", swept, "--verbose")
    after = [
        call("compare", swept),
        call("status", swept, "--verbose"),
        call("export", swept, "--to", tmp_path / "winner"),
    ]
    study = load_study(swept)
    shown = [before.out, *(item.out for item in after[:2])]
    shown.append((study.folder / "comparison" / "table.md").read_text())
    shown.append((tmp_path / "winner" / "README.md").read_text())
    for text in shown:
        places = [text.index(name) for name in names]
        assert places == sorted(places)
        assert "nominated, not confirmed" in text.lower()
    assert "score on fresh repeats" in before.out
    assert "-  unknown: no comparison yet, run `hybrid-search compare`" in before.out
    for text in shown[1:]:
        assert "test accuracy, mean of 2 repeats on these test images; no interval from two" in text
    for text in (*shown, before.err, *(item.err for item in after), after[-1].out):
        assert not re.search(r"\bbest\b", text, re.IGNORECASE), text


@pytest.mark.slow
def test_damaged_weights_are_one_line(call: Any, swept: Path, tmp_path: Path) -> None:
    folder, image = tmp_path / "winner", tmp_path / "some.png"
    assert call("export", swept, "--to", folder).code == EXIT_DONE
    Image.fromarray(np.full((9, 7), 200, dtype=np.uint8)).save(image)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:500] + b"\0" * 3000 + content[3500:]):
        weights.write_bytes(damaged)
        shown = call("predict", folder, image)
        assert_refused(shown, f"{weights}: damaged")
        assert len(shown.err.splitlines()) == 1
    # No line of a library that is being imported either.
    command = [sys.executable, "-m", "search.cli", "predict", str(folder), str(image)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (EXIT_INPUT, shown.err)


def test_models_and_data(call: Any) -> None:
    models = {row["name"]: row for row in call("models", "--json").document}
    assert len(models) == 65
    assert models["ecrnn/ecrnn-bilstm-16"]["keras_total"] == 1_715_210
    layers = call("models", "ecrnn/cnn", "--json").document
    assert sum(row["parameters"] for row in layers) == models["ecrnn/cnn"]["keras_total"]
    assert "1,715,210" in call("models").out
    data = call("data", "digits", "--json").document
    assert data["num_images"] == {"train": 1198, "test": 599}
    assert "num_images" in call("data", "digits").out


EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def test_analyze_a_file(call: Any, tmp_path: Path) -> None:
    command = ("analyze", EXAMPLES / "clear-win.csv", "--ratio", "3/7")
    shown = call(*command, "--to", tmp_path / "out")
    assert shown.code == EXIT_DONE, shown.err
    assert "ecrnn-bilstm-16 beats cnn by 1.8 percentage points (95 % interval " in shown.out
    assert shown.err == ""
    document = call(*command, "--json").document
    assert [item["verdict"] for item in document["comparisons"]] == ["better"]
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == document


def test_analyze_refuses_in_words(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("config,block,score\na,0,91\nb,0,\nb,0,92\n")
    before = tree(tmp_path)
    for more in ((), ("--json",), ("--to", tmp_path / "out")):
        shown = call("analyze", path, *more)
        assert_refused(
            shown, f"{path}, rows 2 and 4: score: expected a number from 0 to 1", f"{path}, rows 3 and 4: config 'b'"
        )
        assert len(shown.err.splitlines()) == 2
    assert_refused(call("analyze"), "expected a file of results or --mlflow EXPERIMENT, found neither")
    assert_refused(call("analyze", path, "--ratio", "3:7"), "--ratio: expected images scored over images trained on")
    assert_refused(
        call(
            "analyze", "--mlflow", "x", "--metric", "acc", "--group-by", "a", "--block", "b", "--tracking-uri", "no.db"
        ),
        "no.db: not found; give the store with --tracking-uri",
    )
    assert tree(tmp_path) == before


def test_what_a_library_prints_is_no_part_of_the_document(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.commands import models as catalogue

    def noisy() -> list[dict[str, Any]]:
        print("hello from a library")
        return [{"name": "a", "loss": float("nan")}]

    monkeypatch.setattr(catalogue, "list_models", noisy)
    shown = call("models", "--json")
    assert shown.document == [{"name": "a", "loss": None}]
    assert "hello" in shown.err


def test_other_studies_are_learned_from_only_if_that_is_allowed(
    call: Any, write: Callable[..., Path], content: dict[str, Any], copied_here: None
) -> None:
    first = write(name="first")
    assert call("sweep", first).code == 0
    folder = Path(content["storage"]) / "first"
    study = write(
        name="second", train={**content["train"], "epochs": 2}, search={**content["search"], "learn_from": str(folder)}
    )
    for verb in ("plan", "sweep"):
        shown = call(verb, study)
        assert_refused(shown, "search.learn_from.0: expected the data and the recipe of this study", "--allow-other")
        assert len(shown.err.splitlines()) == 1
    words = f"learns from 2 of 2 trials of {folder}, although it has other epochs (1 there and 2 here)"
    assert f"earlier     {words}" in call("plan", study, "--allow-other").out
    shown = call("sweep", study, "--allow-other")
    assert shown.code == 0
    assert f"second: {words}" in shown.err + shown.out
    assert call("sweep", study).code == 0, "the decision is in the journal"
    assert f"earlier     {words}" in call("status", folder.with_name("second"), "--verbose").out
