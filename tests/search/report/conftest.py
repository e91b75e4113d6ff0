"""Studies as their folders tell them: trials written into a journal, comparisons judged on made-up answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from search.journal.journal import Journal
from search.records import Completed, EpochMetrics, Failed, Outcome, Stopped, TrialRecord
from search.report import picture
from search.significance import Comparison, Declared, Results, judge_results
from search.study.config import StudyConfig
from search.study.folder import claim_folder

VOID = {"img", "meta"}
EVIL = "<script>alert('x')</script><b>&\"'"


class Page(HTMLParser):
    """What a page holds, as far as tests ask; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open or self._open[-1] != "style":
            self.words += data + " "

    def all(self, *names: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name in names]

    @property
    def typed_scripts(self) -> list[tuple[str | None, str]]:
        """Type and content of each script."""
        kinds = [attributes.get("type") for attributes in self.all("script")]
        return list(zip(kinds, self.scripts, strict=True))

    @property
    def data(self) -> list[str]:
        """What the live pictures are drawn from."""
        return [text for kind, text in self.typed_scripts if kind == "application/json"]

    @property
    def figures(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.data]


@pytest.fixture(autouse=True)
def light_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without still pictures, which have tests of their own, and without five megabytes of plotly."""
    monkeypatch.setattr(picture, "to_source", lambda _: "data:image/png;base64,AAAA")
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "// plotly.js v0")


@pytest.fixture
def parse() -> type[Page]:
    """Read a page."""
    return Page


@pytest.fixture
def evil() -> str:
    """A name that breaks a page which forgets to escape."""
    return EVIL


@pytest.fixture
def judged() -> Callable[..., list[Comparison]]:
    """Judge made-up answers: `judged(["a", "b"], control="cnn")`; later names are better."""

    def make(
        names: Sequence[str], control: str = "cnn", *, num_blocks: int = 6, num_images: int = 80
    ) -> list[Comparison]:
        rng = np.random.default_rng(4)
        hardness = rng.normal(0.6, 1, num_images)
        every = [control, *names]
        correct = {
            name: list((hardness + 0.4 * place + rng.normal(0, 0.3, (num_blocks, num_images)) > 0).astype(np.uint8))
            for place, name in enumerate(every)
        }
        blocks = tuple(f"compare-{index}" for index in range(num_blocks))
        results = Results(configs=tuple(every), blocks=dict.fromkeys(every, blocks), correct=correct)
        return list(judge_results([results], [(name, control) for name in names], Declared()))

    return make


@pytest.fixture
def told(make_record: Callable[..., TrialRecord]) -> Callable[..., StudyConfig]:
    """Write a study's folder: `told(study, accuracies=[0.8, None], comparisons=[...])`; None is a failed trial."""

    def curve(accuracy: float) -> EpochMetrics:
        return EpochMetrics(
            epoch=1,
            train_loss=1.0,
            train_accuracy=0.5,
            val_loss=1.0,
            val_accuracy=accuracy,
            learning_rate=0.01,
            elapsed_secs=2.0,
            num_images=70,
        )

    def make(
        study: StudyConfig,
        accuracies: Sequence[float | None] = (),
        comparisons: Sequence[Comparison] = (),
        *,
        label: str = "trial {}: gru",
        document: dict[str, Any] | None = None,
    ) -> StudyConfig:
        folder = claim_folder(study)
        with Journal(folder) as journal:
            data = {"name": "digits", "digest": "d1g3st", "num_train": 70, "num_test": 50, "root": None}
            journal.note(
                "session", verb="sweep", versions={"torch": "2.12.0"}, git="0123abcd", data=data, classes=["0"]
            )
            for number, accuracy in enumerate(accuracies):
                key = f"t{number}"
                journal.begin(make_record(key, number=number, label=label.format(number)))
                outcome: Outcome = Failed(reason="diverged in epoch 1: the loss was nan", diverged=True)
                if accuracy is not None:
                    journal.epoch(key, curve(accuracy), "node-1", {"device": "cpu"})
                    outcome = Stopped(epoch=1) if accuracy < 0.5 else Completed()
                journal.end(key, outcome)
            journal.note("stop")
        if comparisons:
            names = list(dict.fromkeys(name for item in comparisons for name in (item.a, item.b)))
            contenders = [
                {
                    "name": name,
                    "finalist": place == 0,
                    "point": {"rnn": "none" if place == 0 else name},
                    "repeats": [
                        {
                            "key": "k",
                            "block": "compare-0",
                            "state": "completed",
                            "test_accuracy": 0.75,
                            "diverged_in_epoch": None,
                        }
                    ],
                }
                for place, name in enumerate(names)
            ]
            whole = {
                "key": "k3y",
                "num_looks": 1,
                "data": data,
                "blocks": [{"name": "compare-0", "split_seed": 1, "init_seed": 2, "order_seed": 3}],
                "contenders": contenders,
                "comparisons": [comparison.to_dict() for comparison in comparisons],
                **(document or {}),
            }
            (folder / "comparison").mkdir()
            (folder / "comparison" / "comparison.json").write_text(json.dumps(whole, allow_nan=False))
        return study

    return make
