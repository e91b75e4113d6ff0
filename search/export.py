"""The winner, handed over: config, weights, exported program, evidence and a model card, in one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from hybrid_models.build import build
from hybrid_models.deployed import Deployed
from hybrid_models.export import export_program
from search.agreement import Agreement, compare_predictions
from search.bind import DataFacts, bind, load_facts
from search.disk import telling_disk_faults
from search.errors import InputError, NothingToDoError
from search.folder import load_comparison, write_atomically
from search.nomination import NOMINATED, has_won, selection_of, state_of
from search.records import TrialRecord, TrialSpec, digest_of
from search.scores import score_rows
from search.seeds import Block, make_block
from search.session import say, tracking_place
from search.status import best_first
from search.storage.working_copy import fetch
from search.study import StudyConfig, to_dict
from search.tracking.journal import read_records
from search.versions import git_revision, versions

BY_HAND = "chosen by hand, not confirmed"
FILES = ("README.md", "config.yaml", "evidence.json", "model.pt2", "model.safetensors")
"""What an export is, as a whole."""
ALIKE = 0.99
"""A program that agrees on fewer images than this share is worth a warning."""


@dataclass(frozen=True, kw_only=True)
class Winner:
    """What is exported, and on what grounds."""

    name: str
    point: dict[str, Any]
    record: TrialRecord
    """The training whose weights are taken."""
    comparisons: list[dict[str, Any]]
    """Comparisons that speak of it; empty when none was run."""
    state: str
    """As of `nomination.state_of`, or BY_HAND."""


def pick_winner(study: StudyConfig, name: str | None = None) -> Winner:
    """Pick what the evidence favours: the finalist, or the baseline that beat it; the nominee if nothing was compared.

    The weights come from the first block (from the sweep's own trial without a comparison): chosen before any score
    was seen, not because it scored well.

    Args:
        study: The study.
        name: A configuration of the comparison by its name, against the rule above.

    Raises:
        NothingToDoError: Nothing was trained yet, or the weights are gone.
        InputError: No configuration of that name.
    """
    records = read_records(study.folder)
    document = load_comparison(study.folder)
    if document is None:
        if name is not None:
            raise InputError(f"--config {name}: nothing was compared yet; run `hybrid-search compare` first")
        ranked = best_first(record for record in records.values() if record.kind == "trial")
        if not ranked:
            raise NothingToDoError(f"{study.folder}: no completed trial to export; run `hybrid-search sweep` first")
        nominee = ranked[0]
        return Winner(name=nominee.label, point=dict(nominee.point), record=nominee, comparisons=[], state=NOMINATED)
    contenders = {item["name"]: item for item in document["contenders"]}
    chosen = name or _favoured(document)
    if chosen not in contenders:
        raise InputError(f"--config {chosen}: not in the comparison; it has: {', '.join(contenders)}")
    own = [item for item in document["comparisons"] if chosen in {item["a"], item["b"]}]
    state = state_of(own, chosen, num_looks=document.get("num_looks", 1))
    trained = [run for run in contenders[chosen]["repeats"] if run["state"] == "completed"]
    if not trained:
        raise NothingToDoError(f"{chosen}: no completed repeat to take weights from; run `hybrid-search compare` again")
    return Winner(
        name=chosen,
        point=contenders[chosen]["point"],
        record=records[trained[0]["key"]],
        comparisons=own,
        state=BY_HAND if name is not None and state == NOMINATED else state,
    )


def _favoured(document: dict[str, Any]) -> str:
    """Name what the evidence favours.

    A finalist that won all its comparisons, by the largest of its smallest differences; else the baseline that beat the
    first finalist; else the first finalist, who stays a nominee. After a race its survivor stands for the first
    finalist.
    """
    finalists: list[str] = [item["name"] for item in document["contenders"] if item["finalist"]]
    margins: dict[str, float] = {}
    for name in finalists:
        own = [item for item in document["comparisons"] if name in {item["a"], item["b"]}]
        wins = [item["estimate"] if item["a"] == name else -item["estimate"] for item in own if has_won(item, name)]
        if own and len(wins) == len(own):
            margins[name] = min(wins)
    if margins:
        return max(margins, key=lambda name: margins[name])
    first = str(document["race"]["survivor"]) if "race" in document else finalists[0]
    beaten_by = [
        (item["estimate"], item["b"])
        for item in document["comparisons"]
        if item["a"] == first and has_won(item, item["b"])
    ]
    return str(min(beaten_by)[1]) if beaten_by else first


@dataclass(frozen=True, kw_only=True)
class Export:
    """A folder that was written, and what is in it."""

    folder: Path
    winner: Winner
    model: Deployed
    digest: str
    """SHA-256 of the weights file."""


def export(study: StudyConfig, folder: Path, *, name: str | None = None) -> Export:
    """Write the winner's folder; an existing export there is replaced as a whole.

    Raises:
        InputError: The target holds something else, or the winner's weights are damaged.
        NothingToDoError: They are gone.
        StorageFaultError: The disk is full or read-only; an export that was there still is.
    """
    winner = pick_winner(study, name)
    folder = folder.absolute()
    if folder.is_file():
        raise InputError(f"--to {folder}: a file is in the way; name a folder")
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES) if folder.exists() else []
    if others:
        raise InputError(f"--to {folder}: the folder holds other files ({others[0]}); name an empty or new one")
    if (found := _name_in(folder)) not in {None, _name_of(study)}:
        raise InputError(f"--to {folder}: the folder holds the export of another study ({found}); name another one")
    facts = load_facts(study)
    block = _block_of(study, winner.record)
    spec = bind(study, winner.point, facts, (block,), score_test=winner.record.kind == "repeat", label=winner.name)
    if spec.key != winner.record.key:
        raise InputError(
            f"{study.folder}: {winner.name} was trained as {winner.record.key} and would now be {spec.key}: the data, "
            "the program or --set differ from what was trained; put them back"
        )
    weights = winner.record.artifacts.get("weights-0")
    file = fetch(study.location, weights) if weights else None
    if file is None:
        raise NothingToDoError(
            f"{study.folder}: the weights of {winner.name} are gone; put them back from a copy, or export another "
            "configuration with --config"
        )
    deployed = load_deployed(study, spec, file)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--to {folder}: cannot be written ({error.strerror}); name another folder") from None
    with (
        telling_disk_faults(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary,
    ):
        target = Path(temporary) / "export"
        target.mkdir()
        digest = _write(target, study, facts, winner, spec, deployed, file)
        if folder.exists():
            shutil.rmtree(folder)
        target.rename(folder)
    return Export(folder=folder, winner=winner, model=deployed, digest=digest)


def _block_of(study: StudyConfig, record: TrialRecord) -> Block:
    purpose, _, index = record.blocks[0].rpartition("-")
    return make_block(study.seed, purpose, int(index))


def load_deployed(study: StudyConfig, spec: TrialSpec, weights: Path) -> Deployed:
    """The model of a finished training, ready to classify: weights, and the normalisation of its training part."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from search.data.augment import fit_normaliser
    from search.data.store import default_cache_dir, open_data

    model = build(spec.model, torch.Generator().manual_seed(0))
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{weights}: damaged ({reason}); put it back from a copy") from None
    data = open_data(study.data, default_cache_dir())
    rows, _ = data.divide(study.split, spec.blocks[0].split_seed)
    normaliser = fit_normaliser(data.train, rows, spec.train.normalise)
    return Deployed(model, normaliser.mean, normaliser.std).eval()


def _write(
    target: Path,
    study: StudyConfig,
    facts: DataFacts,
    winner: Winner,
    spec: TrialSpec,
    deployed: Deployed,
    weights: Path,
) -> str:
    write_atomically(target / "config.yaml", yaml.safe_dump(to_config(study, winner), sort_keys=False))
    shutil.copyfile(weights, target / "model.safetensors")
    say("tracing the program; long sequences take up to a minute")
    example = torch.zeros((2, facts.height, facts.width, 3), dtype=torch.uint8)
    program = export_program(deployed, example)
    torch.export.save(program, target / "model.pt2")
    agreement = _check_program(study, winner, spec, deployed, program.module())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    evidence = to_evidence(study, facts, winner, spec, deployed, digest, agreement)
    write_atomically(target / "evidence.json", json.dumps(evidence, indent=1, allow_nan=False))
    write_atomically(target / "README.md", to_card(study, facts, winner, evidence))
    return digest


def _check_program(
    study: StudyConfig, winner: Winner, spec: TrialSpec, deployed: Deployed, program: nn.Module
) -> Agreement:
    from search.data.store import default_cache_dir, open_data

    stored = winner.record.artifacts.get("predictions")
    predictions = study.folder / stored if stored else None
    agreement = compare_predictions(
        program,
        deployed,
        open_data(study.data, default_cache_dir()),
        precision=spec.train.precision,
        predictions=predictions if predictions is not None and predictions.is_file() else None,
    )
    if agreement.share < ALIKE:
        say(f"the program agrees with {agreement.with_what} on {100 * agreement.share:.1f} % of the images only")
    return agreement


def _name_of(study: StudyConfig) -> str:
    return f"{study.name}-winner"


def _name_in(folder: Path) -> str | None:
    """Which study an export is of; None where nothing readable says so."""
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found.get("name") if isinstance(found, dict) else None


def to_config(study: StudyConfig, winner: Winner) -> dict[str, Any]:
    """A study file with one point: the winner, ready to be run again."""
    data = to_dict(study)
    data["name"] = _name_of(study)
    data["space"] = {key: {"fixed": value} for key, value in winner.point.items()}
    data["fix"] = {}
    data["search"] |= {"trials": 1, "sampler": "grid", "scheduler": "none", "enqueue": []}
    return data


def to_evidence(
    study: StudyConfig,
    facts: DataFacts,
    winner: Winner,
    spec: TrialSpec,
    deployed: Deployed,
    digest: str,
    agreement: Agreement,
) -> dict[str, Any]:
    """What the claim rests on, as plain data."""
    from hybrid_models.counting import keras_total, torch_trainable
    from hybrid_models.shapes import sequential_steps
    from search.data.stream import resized_side

    document = load_comparison(study.folder)
    return {
        "name": winner.name,
        "state": winner.state,
        "point": winner.point,
        "point_digest": digest_of(winner.point),
        "model": {
            "settings": {name: value for name, value in asdict(spec.model).items() if value is not None},
            "classes": list(facts.classes),
            "height": facts.height,
            "width": facts.width,
            "squeezed_to": resized_side(facts.height) if study.data.streamed else None,
            "input": "uint8 RGB, (batch, height, width, 3)",
            "output": "class probabilities, (batch, classes)",
            "mean": deployed.mean.flatten().tolist(),
            "std": deployed.std.flatten().tolist(),
            "parameters_torch": torch_trainable(deployed.model),
            "parameters_keras": keras_total(deployed.model),
            "sequential_steps": sequential_steps(spec.model),
        },
        "weights": {
            "key": winner.record.key,
            "digest": digest,
            "block": asdict(spec.blocks[0]),
            "val_accuracy": winner.record.val_accuracy,
            "test_accuracy": winner.record.test_accuracy,
            "precision": spec.train.precision,
            "machine": dict(winner.record.machine),
            "why": "the first block; not chosen by score" if winner.comparisons else "the sweep's nominee: one run",
        },
        "program": {"precision": "float32", **asdict(agreement)},
        "selection": selection_of(study, facts, document, winner.point),
        "comparison": document,
        "data": {"name": study.data.name, "digest": facts.key, "num_train": facts.num_train},
        "versions": versions(),
        "git": git_revision(),
    }


def to_card(study: StudyConfig, facts: DataFacts, winner: Winner, evidence: dict[str, Any]) -> str:
    """The model card in words."""
    model, weights, program = evidence["model"], evidence["weights"], evidence["program"]
    sentences = [item["sentence"] for item in winner.comparisons]
    claim = "\n".join(f"> {line}" for line in sentences) or (
        "> Nominated, not confirmed: the sweep chose it for its score in one run. Run `hybrid-search compare`."
    )
    scores = "\n".join(f"| {name} | {score} | {words} |" for name, score, words in score_rows(evidence["selection"]))
    classes = ", ".join(facts.classes[:20]) + (
        f" and {len(facts.classes) - 20} more" if len(facts.classes) > 20 else ""
    )
    return f"""# {winner.name}

{winner.state.capitalize()}: from the study `{study.name}` on `{study.data.name}`.

## What is claimed

{claim}

| score | accuracy | what it is |
|---|---|---|
{scores}

The evidence for it (every repeat, block and version) is in `evidence.json`.

## What it is

An image classifier with {model["parameters_torch"]:,} parameters ({model["parameters_keras"]:,} as Keras counts) and
{model["sequential_steps"]} sequential steps. Input: RGB images of {model["height"]} x {model["width"]} pixels.
Classes: {classes}.

The weights are those of one training ({weights["why"]}); its own test accuracy
{_percent(winner.record.test_accuracy)} is one run and not the estimate above.
Scores were measured in {weights["precision"]} ({weights["machine"].get("device", "device unknown")}).
`model.pt2` computes in {program["precision"]}; it agrees with {program["with_what"]}
on {100 * program["share"]:.1f} % of {program["num_images"]} test images.

## How to use it

    hybrid-search predict . IMAGE...      # needs nothing but this folder
    hybrid-search sweep config.yaml       # trains this one point again

`predict` builds the model from the settings in `evidence.json` and the weights in `model.safetensors`; neither can
execute anything. `model.pt2` (torch.export) is the same as a program for deployment without this package: uint8 images
(batch, height, width, 3) in, class probabilities out. Loading a .pt2 file may execute what is in it: do so only if you
trust where it comes from.

## Limits

It was judged on images like those of `{study.data.name}` only. Its probabilities are not calibrated.
"""


def _percent(value: float | None) -> str:
    return "(not measured)" if value is None else f"({100 * value:.1f} %)"


def register(study: StudyConfig, exported: Export) -> str | None:
    """Log the export folder in MLflow and register the model there, as `champion` unless it was chosen by hand.

    Returns:
        The registered name and version, or None with tracking switched off.

    Raises:
        TrackingError: MLflow is out of reach; the folder is complete all the same.
    """
    from search.tracking.mlflow_registry import register as register_in_mlflow

    place = tracking_place(study)
    if place is None:
        return None
    version = register_in_mlflow(
        exported.folder,
        uri=place.uri,
        experiment=place.experiment,
        name=study.name,
        model=exported.model,
        example=np.full((2, *exported.model.image_size, 3), 128, dtype=np.uint8),
        digest=exported.digest,
        tags={"state": exported.winner.state, "configuration": exported.winner.name},
        is_champion=exported.winner.state != BY_HAND,
    )
    return f"{study.name} version {version}"
