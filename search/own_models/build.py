"""Build a model, built-in or own, with all random numbers from one seed.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from hybrid_models.build import build
from search.own_models.errors import OwnCodeError, in_words
from search.own_models.loading import importable, load_function
from search.own_models.model import AnyModel, OwnModel


def build_model(model: AnyModel, generator: torch.Generator) -> nn.Module:
    """Build a model with initial weights.

    Args:
        model: The model's description.
        generator: Source of the initial weights. An own model draws them from the global generators of torch, NumPy
            and Python, which receive this generator's seed and are left unchanged.

    Returns:
        The model in training mode, on the CPU.

    Raises:
        OwnCodeError: The user's code raised, or returned no module with parameters.
    """
    if isinstance(model, OwnModel):
        return build_own(model, generator.initial_seed())
    return build(model, generator)


def build_own(model: OwnModel, seed: int, point: dict[str, Any] | None = None) -> nn.Module:
    """Build an own model.

    Args:
        model: The model's description.
        seed: Seed of the global generators during the call.
        point: Mapping that the factory receives, with the model's values; None for a plain dictionary.

    Raises:
        OwnCodeError: The user's code raised, or returned no module with parameters.
    """
    with importable(model):
        with seeded(0):  # what the modules draw when they are imported is the same in every process
            function = load_function(model)
        with seeded(seed):
            net = call(function, model, dict(model.point) if point is None else point)
    where = f"{model.parsed.module}: {model.parsed.function}"
    if not isinstance(net, nn.Module):
        raise OwnCodeError(f"{where}: expected a torch.nn.Module, found {type(net).__name__}; return the module")
    if not any(weight.requires_grad for weight in net.parameters()):
        raise OwnCodeError(f"{where}: expected a module with parameters to train, found none")
    lazy = [name for name, weight in net.named_parameters() if isinstance(weight, UninitializedParameter)]
    if lazy:
        raise OwnCodeError(
            f"{where}: expected parameters with a shape, found {lazy[0]} of a lazy module; give its sizes"
        )
    net.train()
    return net


def call(function: Callable[..., Any], model: OwnModel, point: dict[str, Any]) -> Any:  # noqa: ANN401
    """Call a factory and return what it returns; an exception becomes an OwnCodeError with its place."""
    try:
        return function(point, num_classes=model.num_classes, image_size=(model.input_height, model.input_width))
    except (Exception, SystemExit) as error:
        raise OwnCodeError(in_words(error, f"{model.parsed.module}: {model.parsed.function}")) from error


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (CPU), NumPy and Python, and restore their states afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


class Logits(nn.Module):
    """An own model with logits as its only output, for images in any memory format.

    Args:
        net: The own model.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Compute logits (B, K) from normalised images (B, C, H, W)."""
        output = self.net(images_BCHW.contiguous())
        logits_BK: Tensor = output[0] if isinstance(output, tuple) else output
        return logits_BK
