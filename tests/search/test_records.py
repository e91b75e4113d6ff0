from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from search.records import (
    Completed,
    EpochMetrics,
    Failed,
    Outcome,
    Stopped,
    TrialRecord,
    canonical,
    digest_of,
    outcome_from_dict,
    outcome_to_dict,
    scores_by_epoch,
)
from search.seeds import make_block
from search.training.config import TrainConfig
from search.training.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]


def test_key_is_stable_and_short(make_spec: MakeSpec) -> None:
    assert make_spec().key == make_spec().key
    assert len(make_spec().key) == 16


@pytest.mark.parametrize("change", [{"label": "other"}, {"number": 7}])
def test_key_ignores_what_a_reader_calls_it(make_spec: MakeSpec, change: dict[str, Any]) -> None:
    assert dataclasses.replace(make_spec(), **change).key == make_spec().key


def test_key_ignores_where_the_data_lie(make_spec: MakeSpec) -> None:
    spec = make_spec()
    moved = dataclasses.replace(spec, data=dataclasses.replace(spec.data, root="elsewhere", download=True))
    assert moved.key == spec.key


CHANGED_TRAIN: dict[str, Any] = {
    "epochs": 4,
    "batch": 64,
    "optimizer": "sgd",
    "lr": 0.002,
    "momentum": 0.5,
    "weight_decay": 0.1,
    "schedule": "cosine",
    "clip": 1.0,
    "rnn_l2": 0.01,
    "validate_every": 2,
    "label_smoothing": 0.1,
    "augment": "hflip",
    "normalise": "unit",
    "precision": "bfloat16",
    "class_weights": "balanced",
    "keep": "best",
}


def test_every_setting_of_the_recipe_changes_the_key(make_spec: MakeSpec) -> None:
    spec = make_spec()
    assert CHANGED_TRAIN.keys() == {item.name for item in dataclasses.fields(spec.train)}
    keys = {
        dataclasses.replace(spec, train=dataclasses.replace(spec.train, **{name: value})).key
        for name, value in CHANGED_TRAIN.items()
    }
    assert len(keys | {spec.key}) == len(CHANGED_TRAIN) + 1


def test_a_recipe_without_later_settings_has_the_digest_of_earlier_versions() -> None:
    recipe = TrainConfig(epochs=3, lr=0.01)
    assert digest_of(recipe.to_identity()) == "6c4767c992bd4f54"
    assert digest_of(dataclasses.replace(recipe, class_weights="balanced").to_identity()) != "6c4767c992bd4f54"
    assert digest_of(dataclasses.replace(recipe, keep="best").to_identity()) != "6c4767c992bd4f54"


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": 4},
        {"rnn": "lstm"},
        {"readout": "mean"},
        {"dropout": 0.5},
        {"init": "keras"},
        {"bn_style": "keras"},
    ],
    ids=str,
)
def test_model_changes_the_key(make_spec: MakeSpec, change: dict[str, Any]) -> None:
    assert make_spec(**change).key != make_spec().key


@pytest.mark.parametrize("field", ["split_seed", "init_seed", "order_seed", "purpose", "index"])
def test_every_field_of_a_block_changes_the_key(make_spec: MakeSpec, field: str) -> None:
    block = make_block(0, "sweep", 0)
    value = "compare" if field == "purpose" else getattr(block, field) + 1
    assert make_spec(blocks=(dataclasses.replace(block, **{field: value}),)).key != make_spec(blocks=(block,)).key


def test_split_data_test_score_and_number_of_blocks_change_the_key(make_spec: MakeSpec) -> None:
    spec = make_spec()
    others = [
        dataclasses.replace(spec, split=dataclasses.replace(spec.split, fraction=0.4)),
        dataclasses.replace(spec, split=dataclasses.replace(spec.split, method="random")),
        dataclasses.replace(spec, data_key="other"),
        dataclasses.replace(spec, score_test=True),
        dataclasses.replace(spec, blocks=(*spec.blocks, make_block(0, "sweep", 1))),
    ]
    assert len({spec.key, *(other.key for other in others)}) == 6


def test_spec_travels_between_processes(make_spec: MakeSpec) -> None:
    spec = make_spec()
    arrived = pickle.loads(pickle.dumps(spec))
    assert arrived == spec
    assert arrived.key == spec.key


@pytest.mark.parametrize(
    "outcome", [Completed(), Stopped(epoch=2), Failed(reason="why"), Failed(reason="", diverged=True, epoch=3)]
)
def test_outcome_round_trips_as_json(outcome: Outcome) -> None:
    assert outcome_from_dict(json.loads(json.dumps(outcome_to_dict(outcome)))) == outcome


def test_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="must be completed, stopped, failed or infeasible, got 'lost'"):
        outcome_from_dict({"word": "lost"})


def test_epoch_round_trips_and_ignores_keys_of_later_versions(make_epoch: Callable[..., EpochMetrics]) -> None:
    epoch = make_epoch(2, 1 / 3)
    data = json.loads(json.dumps(dataclasses.asdict(epoch)))
    assert EpochMetrics.from_dict({**data, "added_later": 1}) == epoch


def test_canonical_has_one_form_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": [1.0, True]}) == canonical({"a": [1.0, True], "b": 1}) == '{"a":[1.0,true],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"loss": float("nan")})


def test_record_speaks_of_its_last_epoch(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> None:
    record = make_record("a", curve=(make_epoch(1, 0.9), make_epoch(2, 0.4)))
    assert record.val_accuracy == 0.4
    assert record.elapsed_secs == 4.0
    assert make_record("b").val_accuracy is None


def test_an_epoch_without_validation_says_nothing_of_the_accuracy(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics]
) -> None:
    silent = make_epoch(3, None, val_loss=None)
    assert EpochMetrics.from_dict(json.loads(json.dumps(dataclasses.asdict(silent)))) == silent
    assert make_record("a", curve=(make_epoch(1, 0.9), make_epoch(2, 0.4), silent)).val_accuracy == 0.4
    assert make_record("b", curve=(silent,)).val_accuracy is None


@pytest.mark.parametrize(
    ("keep", "epoch", "scores"),
    [("last", 5, {1: 0.5, 2: 0.75, 3: 0.75, 5: 0.25}), ("best", 2, {1: 0.5, 2: 0.75, 3: 0.75, 5: 0.75})],
)
def test_the_last_epoch_counts_or_the_first_of_the_best(
    make_record: Callable[..., TrialRecord],
    make_epoch: Callable[..., EpochMetrics],
    keep: str,
    epoch: int,
    scores: dict[int, float],
) -> None:
    accuracies = (0.5, 0.75, 0.75, None, 0.25)
    curve = tuple(make_epoch(place, value) for place, value in enumerate(accuracies, start=1))
    record = make_record("a", curve=curve, keep=keep)
    assert record.kept is not None
    assert record.kept.epoch == epoch
    assert record.val_accuracy == accuracies[epoch - 1]
    assert scores_by_epoch(curve, keep) == scores
    assert make_record("a", curve=curve[3:4], keep=keep).val_accuracy is None
    assert make_record("a", curve=(), keep=keep).kept is None
