"""From states to one vector, and from a vector to logits.

Shapes: B batch, L steps, N states of a step, D width of a vector, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybrid_models.precision import full_precision

READOUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "last": lambda states_BLN, final_BN: final_BN,  # noqa: ARG005
    "mean": lambda states_BLN, final_BN: states_BLN.mean(dim=1),  # noqa: ARG005
    "flatten_all": lambda states_BLN, final_BN: states_BLN.flatten(1),  # noqa: ARG005
}
"""All states (B, L, N) and final states (B, N) -> vector."""


def readout_width(readout: str, num_steps: int, width: int) -> int:
    """Width of the vector that a readout makes of L steps of N states."""
    return num_steps * width if readout == "flatten_all" else width


class Head(nn.Module):
    """Dense layers with ReLU and dropout, then logits.

    The logits are computed in the parameters' precision even under autocast; the layer is tiny, the loss is not.

    Args:
        in_features: Width of the vector that comes in.
        widths: Widths of the dense layers; may be empty.
        dropout: Share of values dropped before each dense layer and before the logits.
        num_classes: Number of logits.
    """

    def __init__(self, in_features: int, widths: tuple[int, ...], dropout: float, num_classes: int) -> None:
        super().__init__()
        before = (in_features, *widths)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(before, widths, strict=False))
        self.drop = nn.Dropout(dropout)
        self.logits = nn.Linear(before[-1], num_classes)

    def forward(self, feats_BD: Tensor) -> Tensor:
        """Vector (B, D) -> logits (B, K)."""
        for layer in self.dense:
            feats_BD = torch.relu(layer(self.drop(feats_BD)))
        with full_precision(feats_BD):
            out: Tensor = self.logits(self.drop(feats_BD).to(self.logits.weight.dtype))
        return out
