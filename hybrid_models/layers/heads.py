"""Readouts, from the states of an RNN to a vector, and the head, from a vector to logits.

Shapes: B batch, L steps, N states of a step, D width of a vector, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybrid_models.layers.precision import full_precision

READOUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "last": lambda states_BLN, final_BN: final_BN,  # noqa: ARG005
    "mean": lambda states_BLN, final_BN: states_BLN.mean(dim=1),  # noqa: ARG005
    "flatten_all": lambda states_BLN, final_BN: states_BLN.flatten(1),  # noqa: ARG005
    "per_step": lambda states_BLN, final_BN: states_BLN,  # noqa: ARG005
}
"""Readout -> function from all states (B, L, N) and final states (B, N) to a vector; per_step keeps all states."""


def readout_width(readout: str, num_steps: int, width: int) -> int:
    """Return the width of the readout of `num_steps` states of `width` values."""
    return num_steps * width if readout == "flatten_all" else width


class Head(nn.Module):
    """Dense layers with ReLU and dropout, and a linear layer to the logits.

    The logits are computed in the parameters' precision even under autocast, because rounding them costs accuracy.

    Args:
        in_features: Width of the input vector.
        widths: Widths of the dense layers; may be empty.
        dropout: Probability of dropping a value after each dense layer, or before the logits if there is none.
        num_classes: Number of logits.
    """

    def __init__(self, in_features: int, widths: tuple[int, ...], dropout: float, num_classes: int) -> None:
        super().__init__()
        before = (in_features, *widths)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(before, widths, strict=False))
        self.drop = nn.Dropout(dropout)
        self.logits = nn.Linear(before[-1], num_classes)

    def forward(self, feats_BD: Tensor) -> Tensor:
        """Compute logits (B, K) from vectors (B, D), or (B, L, K) from (B, L, D)."""
        for layer in self.dense:
            feats_BD = self.drop(torch.relu(layer(feats_BD)))
        if not self.dense:
            feats_BD = self.drop(feats_BD)
        with full_precision(feats_BD):
            out: Tensor = self.logits(feats_BD.to(self.logits.weight.dtype))
        return out


def average_probabilities(logits_BLK: Tensor) -> Tensor:
    """Average class probabilities over the steps of logits (B, L, K), and return their logarithm (B, K).

    Reference: Donahue et al. (2015), section 4.
    """
    log_probs_BLK = torch.log_softmax(logits_BLK, dim=2)
    return torch.logsumexp(log_probs_BLK, dim=1) - math.log(log_probs_BLK.shape[1])
