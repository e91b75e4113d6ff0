"""Writes an export folder: config, weights, exported program, evidence and model card."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from hybrid_models.deployed import Deployed
from hybrid_models.export import export_program
from search.compare.nomination import selection_of
from search.data.store import ImageData, open_data
from search.errors import InputError, NothingToDoError, TrackingError
from search.export.folder import CODE, check_target, replacing
from search.export.image_classifier import METADATA
from search.export.model_card import to_card
from search.export.onnx_program import FILE as ONNX_FILE
from search.export.onnx_program import check_packages, write_onnx
from search.export.pick import Wanted, Winner, pick_winner, way_to_weights
from search.export.verify import Agreement, compare_predictions
from search.export.weights import fill
from search.journal.comparison_file import to_dict as comparison_to_dict
from search.journal.selection import Selection
from search.journal.versions import git_revision, versions
from search.own_models.build import Logits, build_model
from search.own_models.errors import OwnCodeError, in_words
from search.own_models.model import OwnModel
from search.own_models.source import DISTRIBUTION
from search.records import TrialRecord, digest_of
from search.runners.session import print_line, tracking_place
from search.seeds import Block, make_block
from search.storage.disk import raising_storage_faults
from search.storage.working_copy import fetch
from search.study.bind import DataFacts, bind, facts_of
from search.study.config import StudyConfig, to_dict
from search.study.folder import write_atomically
from search.study.own_model import BUILT_IN, is_built_in
from search.sweep.keeping import describe_kept
from search.text.printable import printable
from search.tracking.sqlite_uri import SQLITE, path_of, sqlite_uri
from search.training.spec import TrialSpec
from search.uris import Uri, redacted

ALIKE = 0.99
"""If the program agrees with the model on a smaller share of images, a warning is printed."""
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export folder that was written."""

    folder: Path
    winner: Winner
    model: Deployed
    metadata: dict[str, Any]
    """Class names and preprocessing, as the program contains them."""
    digest: str
    """SHA-256 of the weights file."""
    no_program: str | None = None
    """Why there is no exported program; None if there is one. Only an own model may lack it."""


def export(
    study: StudyConfig,
    folder: Path,
    wanted: Wanted | None = None,
    *,
    onnx: bool = False,
    images: Callable[[], ImageData] | None = None,
) -> Export:
    """Write the export folder of a configuration; an existing export is replaced as a whole.

    Args:
        study: The study.
        folder: The folder to write.
        wanted: The configuration or trial to export instead of the study's choice.
        onnx: Whether the program is also written in ONNX form.
        images: Returns the opened data set, for several exports of one study; by default it is opened here.

    Raises:
        InputError: The folder holds other files, the weights are damaged, or the model has no ONNX form.
        NothingToDoError: The weights were deleted.
        StorageFaultError: The disk is full or read-only; an existing export is left unchanged.
    """
    if onnx:
        check_packages()
    winner = pick_winner(study, wanted)
    target = check_target(folder, study.name)
    data = images() if images is not None else open_data(study.data)
    facts = facts_of(data)
    blocks = _blocks_of(study, winner.record)
    spec = bind(study, winner.point, facts, blocks, score_test=winner.record.kind == "repeat", label=winner.name)
    if spec.key != winner.record.key:
        raise InputError(
            f"{study.folder}: {winner.name} was trained as {winner.record.key} and would now be {spec.key}: the data, "
            "the program or --set has changed since the training; restore it"
        )
    weights = winner.record.artifacts.get("weights-0")
    file = fetch(study.location, weights) if weights else None
    if file is None:
        raise NothingToDoError(f"{study.folder}: the weights of {winner.name} were deleted{_why_gone(study, winner)}")
    deployed = load_deployed(study, spec, file, data)
    with raising_storage_faults(target), replacing(target) as new:
        digest, no_program = _write(new, study, data, winner, spec, deployed, file, onnx=onnx)
    metadata = to_metadata(study, facts, deployed)
    return Export(folder=target, winner=winner, model=deployed, metadata=metadata, digest=digest, no_program=no_program)


def _why_gone(study: StudyConfig, winner: Winner) -> str:
    if winner.record.kind != "trial":
        return "; restore them from a copy, or export another configuration with --config or --trial"
    return f" ({describe_kept(study)}); {way_to_weights(study, winner)}"


def _blocks_of(study: StudyConfig, record: TrialRecord) -> tuple[Block, ...]:
    names = (name.rpartition("-") for name in record.blocks)
    return tuple(make_block(study.seed, purpose, int(index)) for purpose, _, index in names)


def load_deployed(study: StudyConfig, spec: TrialSpec, weights: Path, data: ImageData) -> Deployed:
    """Return the model of a completed run with its weights of the first block, and the normalisation of that block."""
    from search.data.augment import fit_normaliser

    try:
        model = build_model(spec.model, torch.Generator().manual_seed(0))
    except OwnCodeError as error:
        raise InputError(f"model.factory: {error.line}") from None
    fill(model, weights.read_bytes(), place=weights, mend="restore it from a copy")
    rows, _ = data.divide(study.split, spec.blocks[0].split_seed)
    normaliser = fit_normaliser(data.train, rows, spec.train.normalise)
    whole = Logits(model) if isinstance(spec.model, OwnModel) else model
    size = (spec.model.input_height, spec.model.input_width)
    return Deployed(whole, normaliser.mean, normaliser.std, size).eval()


def _write(
    target: Path,
    study: StudyConfig,
    data: ImageData,
    winner: Winner,
    spec: TrialSpec,
    deployed: Deployed,
    weights: Path,
    *,
    onnx: bool,
) -> tuple[str, str | None]:
    """Write all files; return the digest of the weights, and why there is no program, or None."""
    facts = facts_of(data)
    config = to_config(study, winner)
    places = places_in(config)
    header = "".join(f"# {field}: {printable(place)}\n" for field, place in places.items())
    words = "# One configuration, ready to be trained again. Paths of the machine that exported it:\n"
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_atomically(target / "config.yaml", f"{words}{header}{text}")
    shutil.copyfile(weights, target / "model.safetensors")
    if isinstance(spec.model, OwnModel):
        _write_code(target / CODE, spec.model)
    print_line("tracing the program; long sequences take up to a minute")
    example = torch.zeros((2, facts.height, facts.width, 3), dtype=torch.uint8)
    metadata = to_metadata(study, facts, deployed)
    agreement, no_program, check = None, None, None
    try:
        program = export_program(deployed, example)
        torch.export.save(program, target / "model.pt2", extra_files={METADATA: json.dumps(metadata)})
        agreement = _check_program(study, data, winner, spec, deployed, program.module())
    except Exception as error:
        if not isinstance(spec.model, OwnModel) or isinstance(error, OSError):
            raise
        no_program = in_words(error, spec.model.parsed.module)
        (target / "model.pt2").unlink(missing_ok=True)
        if onnx:
            raise InputError(
                f"--onnx: torch.export cannot trace this model: {no_program}; export without --onnx"
            ) from None
        print_line(f"torch.export cannot trace this model ({no_program}); the folder has its weights and its source")
    if onnx:
        print_line("converting the program to ONNX; long sequences take minutes")
        check = write_onnx(program, target / ONNX_FILE, metadata=metadata, data=data)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    selection = selection_of(study, facts, list(winner.records.values()), winner.document, winner.point)
    assert selection is not None
    evidence = to_evidence(study, facts, winner, spec, deployed, digest, agreement, selection, no_program)
    if check is not None:
        evidence["onnx"] = asdict(check)
    write_atomically(target / "evidence.json", json.dumps(evidence, indent=1, allow_nan=False))
    sentences = [item.sentence for item in winner.comparisons]
    card = to_card(
        evidence,
        study=study.name,
        data=study.data.name,
        selection=selection,
        sentences=sentences,
        places=places,
        tracking_uri=_tracking_uri(study),
    )
    write_atomically(target / "README.md", card)
    return digest, no_program


def _tracking_uri(study: StudyConfig) -> str | None:
    """Return the address of MLflow without secrets; None if nothing is registered there."""
    try:
        place = tracking_place(study)
    except TrackingError:
        return None
    if place is None:
        return None
    return place.uri.written if isinstance(place.uri, Uri) else redacted(place.uri)


def to_metadata(study: StudyConfig, facts: DataFacts, deployed: Deployed) -> dict[str, Any]:
    """Return class names and preprocessing of an exported model, as its program contains them."""
    from search.data.stream import resized_side

    return {
        "classes": list(facts.classes),
        "input": "uint8 RGB, (batch, height, width, 3)",
        "output": "class probabilities, (batch, classes)",
        "height": facts.height,
        "width": facts.width,
        "resized_to": resized_side(facts.height) if study.data.streamed else None,
        "mean": deployed.mean.flatten().tolist(),
        "std": deployed.std.flatten().tolist(),
    }


def _write_code(folder: Path, model: OwnModel) -> None:
    """Write the source of an own model."""
    for path, text in model.code:
        if not path.startswith(DISTRIBUTION):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / path, text)


def _check_program(
    study: StudyConfig, data: ImageData, winner: Winner, spec: TrialSpec, deployed: Deployed, program: nn.Module
) -> Agreement:
    stored = winner.record.artifacts.get("predictions")
    predictions = study.folder / stored if stored else None
    agreement = compare_predictions(
        program,
        deployed,
        data,
        precision=spec.train.precision,
        predictions=predictions if predictions is not None and predictions.is_file() else None,
    )
    if agreement.share < ALIKE:
        print_line(f"the program agrees with {agreement.with_what} on only {100 * agreement.share:.1f} % of the images")
    return agreement


def to_config(study: StudyConfig, winner: Winner) -> dict[str, Any]:
    """Return a study file that trains the exported configuration again; its paths are absolute."""
    data = to_dict(study)
    data["name"] = f"{study.name}-winner"
    data["space"] = {key: {"fixed": value} for key, value in winner.point.items()}
    data["fix"] = {}
    data.pop("hooks", None)  # files of this machine, which have no part in the training
    if study.is_own:  # the space has one point, of which other points of an own model are none
        likes = data["compare"]["baselines"]
        data["compare"]["baselines"] = [like for like in likes if isinstance(like, str) or BUILT_IN in like]
        if is_built_in(study, winner.point):  # a preset that was a baseline
            data["model"] = {}
            del data["code"]
    data["search"] |= {"trials": 1, "sampler": "grid", "sampler_args": {}, "scheduler": "none", "enqueue": []}
    data["search"] |= {"keep_checkpoints": "finalists", "learn_from": [], "limits": {}, "time_budget_mins": None}
    data["search"] |= {"trial_budget_mins": None, "gpu_hours": None, "stop_when": None}
    for section, field in _PLACES:
        holder = data[section] if section else data
        if holder[field] is not None:
            holder[field] = _absolute(holder[field])
    return data


_PLACES = (("", "storage"), ("data", "root"), ("tracking", "uri"), ("search", "database"))
"""Section and field of each study file entry that is a path or an address."""


def places_in(config: dict[str, Any]) -> dict[str, str]:
    """Return the paths and addresses of this machine in an exported study file, by field."""
    found = {
        f"{section}.{field}" if section else field: (config[section] if section else config)[field]
        for section, field in _PLACES
    }
    return {field: place for field, place in found.items() if place is not None}


def _absolute(place: str) -> str:
    """Make a path, or the file of an SQLite address, absolute; return other addresses unchanged."""
    if place.startswith(SQLITE):
        return sqlite_uri(path_of(place).absolute())
    if _SCHEME.match(place) or place.startswith("$"):
        return place
    return str(Path(place).expanduser().absolute())


def to_evidence(
    study: StudyConfig,
    facts: DataFacts,
    winner: Winner,
    spec: TrialSpec,
    deployed: Deployed,
    digest: str,
    agreement: Agreement | None,
    selection: Selection,
    no_program: str | None = None,
) -> dict[str, Any]:
    """Return the content of evidence.json: data, scores, comparisons and versions, as plain data."""
    from hybrid_models.config.shapes import sequential_steps
    from hybrid_models.counting import keras_total, torch_trainable

    metadata = to_metadata(study, facts, deployed)
    own = spec.model if isinstance(spec.model, OwnModel) else None
    return {
        "study": study.name,
        "name": winner.name,
        "state": winner.state,
        "notes": list(winner.notes),
        "point": winner.point,
        "point_digest": digest_of(winner.point),
        "model": {
            **(
                {"own": _own_to_dict(own)}
                if own
                else {"settings": {name: value for name, value in asdict(spec.model).items() if value is not None}}
            ),
            **{key: value for key, value in metadata.items() if key != "resized_to"},
            "squeezed_to": metadata["resized_to"],
            "parameters_torch": torch_trainable(deployed.model),
            "parameters_keras": None if own else keras_total(deployed.model),
            "sequential_steps": None if isinstance(spec.model, OwnModel) else sequential_steps(spec.model),
        },
        "weights": {
            "key": winner.record.key,
            "digest": digest,
            "block": asdict(spec.blocks[0]),
            "num_blocks": len(spec.blocks),
            "val_accuracy": winner.record.val_accuracy,
            "test_accuracy": winner.record.test_accuracy,
            "precision": spec.train.precision,
            "class_weights": spec.train.class_weights,
            "keep": spec.train.keep,
            "epoch": winner.record.kept.epoch if winner.record.kept else spec.train.epochs,
            "num_epochs": len(winner.record.curve),
            "machine": dict(winner.record.machine),
            "why": winner.why,
        },
        "program": {"precision": "float32", **asdict(agreement)} if agreement else {"missing": no_program},
        "selection": asdict(selection),
        "comparison": comparison_to_dict(winner.document) if winner.document else None,
        "data": {"name": study.data.name, "digest": facts.key, "num_train": facts.num_train},
        "versions": versions(),
        "git": git_revision(),
    }


def _own_to_dict(model: OwnModel) -> dict[str, Any]:
    """Return an own model as evidence.json records it: each file of its source by its SHA-256."""
    return {
        "factory": model.factory,
        "point": dict(model.point),
        "code": {
            path: text if path.startswith(DISTRIBUTION) else hashlib.sha256(text.encode()).hexdigest()
            for path, text in model.code
        },
    }
