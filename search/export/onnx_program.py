"""ONNX form of an exported program, checked with ONNX Runtime against the program."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search.data.batches import EvalBatches
from search.data.store import ImageData
from search.errors import InputError
from search.export.image_classifier import METADATA
from search.own_models.errors import MAX_REASON, SHOWN
from search.text.printable import printable

FILE = "model.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages of the extra `onnx`."""
TOLERANCE = 1e-5
"""Largest difference of a probability between ONNX Runtime and the program."""
NUM_IMAGES = 16
_NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_PLACE = re.compile(rf'File "{re.escape(SHOWN)}([^"]+)", line (\d+)')


@dataclass(frozen=True, kw_only=True)
class OnnxCheck:
    """Comparison of the ONNX form of a program with the program."""

    opset: int
    num_images: int
    largest_difference: float
    """Of a class probability."""


def check_packages() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        InputError: One is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"--onnx: expected the packages {', '.join(PACKAGES)}, found no {missing[0]}; install them: "
            "pip install '.[onnx]'"
        )


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, *, metadata: dict[str, Any], data: ImageData
) -> OnnxCheck:
    """Write the ONNX form of a program.

    Args:
        program: Maps uint8 images (batch, height, width, 3) to class probabilities.
        path: The file to write. It contains the weights; its input is `images` and its output `probabilities`.
        metadata: Class names and preprocessing, which the file contains as the program does.
        data: The data set, of which some test images are classified by both.

    Raises:
        InputError: An operator of the model has no ONNX form, or ONNX Runtime refuses the model or computes other
            probabilities than the program.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")  # of an extra, and without types
    try:
        found = torch.onnx.export(
            program, dynamo=True, input_names=["images"], output_names=["probabilities"], verbose=False
        )
    except Exception as error:
        raise InputError(
            f"--onnx: the model has no ONNX form: {_reason(error, program)}; export without --onnx"
        ) from error
    assert found is not None
    found.model.metadata_props[METADATA] = json.dumps(metadata)
    found.save(path, external_data=False)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        pixels = next(_test_images(data))
        (probabilities,) = session.run(None, {"images": pixels})
    except Exception as error:
        raise InputError(f"--onnx: ONNX Runtime refuses the model: {_shown(error)}; export without --onnx") from error
    with torch.no_grad():
        wanted = program.module()(torch.from_numpy(pixels)).numpy()
    difference = float(np.abs(probabilities - wanted).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"--onnx: expected the probabilities of the program within {TOLERANCE:g}, found a difference of "
            f"{difference:.1e} in ONNX Runtime; export without --onnx"
        )
    opset = found.model.opset_imports[""]
    return OnnxCheck(opset=opset, num_images=len(pixels), largest_difference=difference)


def _test_images(data: ImageData) -> Iterator[NDArray[np.uint8]]:
    """Yield evenly spaced test images, (N, H, W, 3)."""
    num_test = len(data.test.labels)
    rows = np.unique(np.linspace(0, num_test - 1, min(NUM_IMAGES, num_test)).astype(np.int64))
    for pixels, _ in EvalBatches(data.test, rows, NUM_IMAGES, torch.device("cpu")):
        yield pixels.numpy()


def _reason(error: BaseException, program: torch.export.ExportedProgram) -> str:
    """Return why torch.onnx cannot convert a program: the operator and its place in the user's code, if known."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    operator = _NO_OPERATOR.search("\n".join(map(str, chain)))
    if operator is None:
        return _shown(chain[-1])
    # torch.onnx decomposes operators: `prims.bessel_j0` is `aten.special_bessel_j0` in the program.
    name = operator[1].rpartition(".")[2]
    for node in program.graph.nodes:
        if name in str(node.target):
            places = _PLACE.findall(node.meta.get("stack_trace") or "")
            where = f"{places[-1][0]}:{places[-1][1]}: " if places else ""
            return f"{where}no ONNX operator for {node.target}"
    return f"no ONNX operator for {operator[1]}"


def _shown(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return printable(f"{type(error).__name__}: {message[:MAX_REASON]}")
