"""Weights from a safetensors file into a model: numbers only, of the right names and shapes, and finite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import InputError

if TYPE_CHECKING:
    from torch import nn

REASON_CHARS = 120


def fill(model: nn.Module, content: bytes, *, place: Path, mend: str) -> None:
    """Fill a model's weights in.

    Args:
        model: Gets the weights.
        content: Of a safetensors file. Nothing in it can execute.
        place: The file, for the words of a fault.
        mend: What a person does about a fault.

    Raises:
        InputError: The content is damaged, of another model, or not finite.
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
            raise InputError(f"{place}: {name} has values that are not finite, so nothing can be predicted; {mend}")
