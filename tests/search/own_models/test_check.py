"""Everything that can be wrong with somebody's model is one line with the place in their file."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.own_models import loading
from search.own_models.build import Logits, build_own
from search.own_models.check import ReadPoint, check_own
from search.own_models.counts import count_own, why_unknown
from search.own_models.errors import OwnCodeError
from search.own_models.model import OwnModel, model_from_dict
from search.study.goals import over_limit

Describe = Callable[..., OwnModel]
BUILD = "def build(point, *, num_classes, image_size):\n"
NET = """
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Linear(192, classes)

    def forward(self, images):
        return {forward}


def build(point, *, num_classes, image_size):
    return Net(num_classes)
"""
LOGITS = "self.fc(images.flatten(1))"


def check(model: OwnModel, label_smoothing: float = 0.0) -> frozenset[str]:
    return check_own(model, batch=4, label_smoothing=label_smoothing, rnn_l2=0.0)


def test_a_right_model_passes_and_unread_names_are_returned(describe: Describe) -> None:
    assert check(describe()) == frozenset()
    assert check(describe(width=4, cell="lstm", widht=3)) == {"widht"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def make(point):\n    pass\n", r"my_models\.py: expected a function build, found none; it has make"),
        ("build = 3\n", "expected a function build, found none"),
        (
            "\ndef build(config):\n    return nn.Linear(3, 3)\n",
            r"my_models\.py:6: expected build\(point, \*, num_classes, image_size\), found build\(config\)",
        ),
        ("import no_such_package\n", r"my_models\.py:5: ModuleNotFoundError.*install no_such_package"),
        ("raise SystemExit('a script')\n", r"my_models\.py:5: SystemExit: a script"),
        ("raise RuntimeError('at import')\n", r"my_models\.py:5: RuntimeError: at import"),
        (BUILD + "    return 3\n", "my_models.py: build: expected a torch.nn.Module, found int"),
        (BUILD + "    return nn.ReLU()\n", "expected a module with parameters to train, found none"),
        (BUILD + "    return nn.Linear(point['wide'], 3)\n", r"my_models\.py:6: KeyError: 'wide'"),
        (BUILD + "    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))\n", r"shape \(4, 5\), found .* \(4, 4\)"),
        (NET.format(forward="self.fc(images)"), r"my_models\.py:12: RuntimeError: .*mat1 and mat2 shapes"),
        (NET.format(forward="images.argmax(1)"), r"expected logits of shape \(4, 5\), found int64"),
        (NET.format(forward="{'logits': 1}"), r"expected logits of shape \(4, 5\), or \(logits, extra\), found dict"),
        (NET.format(forward=f"({LOGITS}, images)"), "with a scalar tensor extra, found a tensor of shape"),
        (NET.format(forward=f"({LOGITS}, 1.0)"), "with a scalar tensor extra, found float"),
        (NET.format(forward=f"{LOGITS} / 0 * 0"), "expected a finite loss on random images, found nan"),
        (NET.format(forward=f"{LOGITS}[:, :4]"), r"shape \(4, 5\), found float32 of shape \(4, 4\)"),
        (NET.format(forward="images.flatten(1)[:, :5]"), "backward: RuntimeError"),
        (NET.format(forward=f"{LOGITS} + images.mean()"), "not to depend on the others of its batch"),
        (NET.format(forward=f"{LOGITS} + torch.rand(5)"), "use no random numbers in evaluation mode"),
        (NET.format(forward=f"{LOGITS} if len(images) > 1 else {LOGITS}[0]"), r"forward of one image: .* \(1, 5\)"),
        (NET.format(forward=f"({LOGITS}).view(-1, 5) if self.training else None"), "in evaluation mode"),
        (
            NET.format(forward=f"{LOGITS} + torch.sqrt(self.fc.weight * 0).sum()"),
            "expected finite gradients on random images, found others in fc.weight",
        ),
        (
            "GENERATOR = torch.Generator()\n\n\n" + BUILD + "    fc = nn.Linear(192, num_classes)\n"
            "    nn.init.normal_(fc.weight, generator=GENERATOR)\n    return nn.Sequential(nn.Flatten(), fc)\n",
            "expected the same weights from the same seed, found others in 1.weight",
        ),
        (
            BUILD + "    net = nn.Sequential(nn.Flatten(), *(nn.Linear(192, 192) for _ in point), nn.Linear(192, 5))\n"
            "    net[2].weight = net[1].weight\n    return net\n",
            "found 2.weight sharing those of 1.weight",
        ),
        (
            NET.format(forward=LOGITS).replace("        self.fc", "        self.off = torch.rand(5)\n        self.fc")
            .replace("images.flatten(1))", "images.flatten(1)) + self.off"),
            "register buffers",
        ),
        (
            "SHARED = nn.Linear(192, 5)\n\n\n" + BUILD + "    return nn.Sequential(nn.Flatten(), SHARED)\n",
            "expected new weights in every model, found 1.weight shared between two",
        ),
        (
            NET.format(forward=LOGITS).replace(
                "        self.fc",
                "        self.register_buffer('mask', torch.full((3,), float('-inf')))\n        self.fc",
            ),
            "expected finite numbers in state_dict\\(\\), found others in mask",
        ),
        (
            NET.format(forward=LOGITS).replace(
                "        self.fc",
                "        grid = torch.rand(8)\n        self.register_buffer('grid', grid)\n"
                "        self.register_buffer('inner', grid[1:])\n        self.fc",
            ),
            "the weights cannot be stored: .*; store tensors that share no memory",
        ),
    ],
)  # fmt: skip
def test_a_wrong_model_is_one_line(describe: Describe, body: str, words: str) -> None:
    with pytest.raises(OwnCodeError, match=words) as caught:
        check(describe(body, width=4, cell="none"))
    assert "\n" not in caught.value.line
    assert pickle.loads(pickle.dumps(caught.value)).line == caught.value.line


def test_a_place_in_another_file_of_theirs(describe: Describe, folder: Path) -> None:
    (folder / "layers.py").write_text("def block(channels, width):\n    return 1 / 0\n")
    with pytest.raises(OwnCodeError, match=r"^layers\.py:2: ZeroDivisionError"):
        check(describe())


def test_own_losses_are_used(describe: Describe) -> None:
    from hybrid_models.objective import objective

    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    plain = build_own(describe(NET.format(forward=LOGITS)), 1)
    extra = build_own(describe(NET.format(forward=f"({LOGITS}, self.fc.weight.square().sum())")), 1)
    own = build_own(describe(NET.format(forward=LOGITS).replace("    def forward", "    def loss(self, logits, labels):\n        return 7 * logits.square().mean()\n\n    def forward")), 1)  # fmt: skip  # noqa: E501
    entropy = torch.nn.functional.cross_entropy(plain(images), labels)
    assert objective(plain, images, labels)[0] == entropy
    assert objective(extra, images, labels)[0] == entropy + extra.fc.weight.square().sum()
    assert objective(own, images, labels)[0] == 7 * own(images).square().mean()
    assert torch.equal(Logits(extra)(images), plain(images))


def test_label_smoothing_has_no_place_beside_an_own_loss(describe: Describe) -> None:
    body = NET.format(forward=LOGITS) + "\n\nNet.loss = lambda self, logits, labels: logits.square().mean()\n"
    assert check(describe(body)) == {"cell", "width"}
    with pytest.raises(OwnCodeError, match=r"train\.label_smoothing has no effect; set it to 0"):
        check(describe(body), label_smoothing=0.1)


def test_class_weights_have_no_place_beside_an_own_loss(describe: Describe) -> None:
    body = NET.format(forward=LOGITS) + "\n\nNet.loss = lambda self, logits, labels: logits.square().mean()\n"
    assert check(describe(body)) == {"cell", "width"}
    with pytest.raises(OwnCodeError, match=r"train\.class_weights has no effect; set it to none"):
        check_own(describe(body), batch=4, label_smoothing=0.0, rnn_l2=0.0, class_weights="balanced")


def test_building_draws_from_its_seed_alone(describe: Describe) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, third = (build_own(describe(), seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_folder_hides_no_module_of_its_name(describe: Describe, folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "net.py").write_text(
        (folder / "my_models.py").read_text().replace("import nn", "import nn\nimport code\n\ncode.interact")
    )
    (folder / "code" / "layers.py").write_text((folder / "layers.py").read_text())
    assert check(describe(factory="code/net.py:build")) == frozenset()


def test_modules_of_the_same_name_stay_apart(describe: Describe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    theirs = importlib.import_module("layers")
    try:
        one, other = describe(), describe(NET.format(forward=LOGITS))
        for model, name in ((one, "body"), (other, "fc"), (one, "body")):
            assert hasattr(build_own(model, 1), name)
        assert sys.modules["layers"] is theirs
        assert theirs.__file__ == str(folder / "layers.py")
    finally:
        sys.modules.pop("layers", None)


def test_it_runs_from_its_source_alone(describe: Describe, folder: Path) -> None:
    model = describe()
    for path in folder.glob("*.py"):
        path.unlink()
    assert build_own(model, 1)(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    sent = model_from_dict(json.loads(json.dumps(dataclasses.asdict(model))))
    assert sent == model
    assert torch.equal(build_own(sent, 3).head.weight, build_own(model, 3).head.weight)  # type: ignore[arg-type]


def test_the_identity_follows_source_point_and_sizes(describe: Describe, folder: Path) -> None:
    model = describe()
    assert describe().identity() == model.identity()
    assert model.digest in model.identity().values()
    assert describe(width=5, cell="none").identity() != model.identity()
    (folder / "notes.py").write_text("# not part of it\n")
    assert describe().identity() == model.identity()
    (folder / "layers.py").write_text((folder / "layers.py").read_text() + "\n")
    assert describe().identity() != model.identity()


def test_counts_are_those_of_paper_and_pencil(describe: Describe) -> None:
    body = (9 * 3 + 1) * 4 + 2 * 4
    assert count_own(describe()) == {"num_parameters": body + 5 * 5, "macs": 9 * 3 * 4 * 64 + 4 * 5}
    lstm = 4 * (4 * 4 + 4 * 4 + 2 * 4)
    counts = count_own(describe(width=4, cell="lstm"))
    assert counts == {"num_parameters": body + lstm + 5 * 5, "macs": 9 * 3 * 4 * 64 + 64 * 4 * 32 + 4 * 5}


def test_what_meta_cannot_count_is_unknown_and_not_0(describe: Describe) -> None:
    model = describe(NET.format(forward=f"{LOGITS} if float(images.sum()) < 1e9 else None"))
    assert count_own(model) == {"num_parameters": 193 * 5}
    assert why_unknown(model).startswith("my_models.py:12: ")
    assert count_own(describe("def build(point, **rest):\n    return 1 / 0\n")) == {}


def test_every_way_of_reading_counts() -> None:
    ways = (
        lambda p: p["a"],
        lambda p: p.get("a"),
        lambda p: "a" in p,
        lambda p: p.setdefault("a", 2),
        lambda p: p.popitem(),
        lambda p: dict(**p),
        lambda p: list(p.items()),
        dict,
        list,
    )
    for read in ways:
        point = ReadPoint({"a": 1})
        read(point)
        assert point.read == {"a"}, read
    assert ReadPoint({"a": 1}).read == set()


def test_what_a_module_draws_when_it_is_imported_is_the_same_in_every_process(describe: Describe) -> None:
    model = describe(
        "PROJECTION = torch.randn(192, 192)\n" + NET.format(forward="self.fc(images.flatten(1) @ PROJECTION)")
    )
    images = torch.randn(2, 3, 8, 8)
    first = build_own(model, seed=1).eval()
    logits = first(images)
    loading._loaded.clear()
    other = build_own(model, seed=2).eval()
    other.load_state_dict(first.state_dict())
    assert torch.equal(other(images), logits)


def test_an_unknown_count_exceeds_its_limit(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.goals.count", lambda _: {"num_parameters": 5})
    assert over_limit(describe(), {"num_parameters": 10}) is None
    assert over_limit(describe(), {"macs": 10}) == "macs is unknown, but search.limits.macs limits it"


def test_a_lazy_module_is_refused(describe: Describe) -> None:
    body = BUILD + "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
    with pytest.raises(OwnCodeError, match=r"build: .* found 1\.weight of a lazy module; give its sizes"):
        check(describe(body))


def test_a_state_that_cannot_be_read_is_said(describe: Describe) -> None:
    broken = "\n\ndef state(*_, **__):\n    raise KeyError('gone')\n\n\nNet.state_dict = state\n"
    with pytest.raises(OwnCodeError, match=r"my_models\.py:\d+: KeyError"):
        check(describe(NET.format(forward=LOGITS) + broken))


def test_what_was_counted_leaves_nothing_to_a_training(describe: Describe) -> None:
    grid = "from functools import lru_cache\n\n\n@lru_cache\ndef grid():\n    return torch.ones(192)\n"
    model = describe(grid + NET.format(forward="self.fc(images.flatten(1) * grid())"))
    assert check(model) == {"cell", "width"}
    for counted in (count_own(model), count_own.__wrapped__(model)):
        assert counted == {"num_parameters": 193 * 5, "macs": 960}
    loading._loaded.clear()
    assert count_own.__wrapped__(model)["macs"] == 960
    assert check(model) == {"cell", "width"}
