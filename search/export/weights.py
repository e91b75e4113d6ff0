"""Loads safetensors weights into a model and checks names, shapes and values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import InputError

if TYPE_CHECKING:
    from torch import nn

REASON_CHARS = 120


def fill(model: nn.Module, content: bytes, *, place: Path, mend: str) -> None:
    """Load weights into a model.

    Args:
        model: The model that receives the weights.
        content: Content of a safetensors file; loading it executes no code.
        place: Path of the file, for error messages.
        mend: How to fix a fault, for error messages.

    Raises:
        InputError: The content is damaged, belongs to another model, or has values that are not finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(content)
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:REASON_CHARS]
        raise InputError(f"{place}: damaged or not the weights of this model ({reason}); {mend}") from None
    for name, values in weights.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise InputError(f"{place}: {name} has values that are not finite, so the model cannot predict; {mend}")
