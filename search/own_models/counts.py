"""Parameters and multiply-adds of an own model, counted on torch's meta device, which computes no numbers."""

from __future__ import annotations

from functools import lru_cache

from search.own_models.errors import OwnCodeError, in_words
from search.own_models.loading import modules_apart
from search.own_models.model import OwnModel


@lru_cache(maxsize=1024)  # counted when proposed, checked and trained
def count_own(model: OwnModel) -> dict[str, int]:
    """Return `num_parameters` and `macs` of an own model by name; one that cannot be counted is missing.

    Multiply-adds are half of the operations that torch's FlopCounterMode counts on the meta device, where recurrent
    layers are sums of matrix products; on the CPU it would count an nn.LSTM as 0.
    """
    with modules_apart(model):
        return _count(model)[0]


def why_unknown(model: OwnModel) -> str:
    """Return why a count of an own model is missing, as one line; empty if none is."""
    with modules_apart(model):
        return _count(model)[1]


def _count(model: OwnModel) -> tuple[dict[str, int], str]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from search.own_models.build import build_own

    try:
        # First on the CPU, so that no module is imported while tensors are made on the meta device.
        found = {"num_parameters": sum(weight.numel() for weight in build_own(model, 0).parameters())}
    except OwnCodeError as error:
        return {}, error.line
    try:
        with torch.device("meta"):
            net = build_own(model, 0).eval()
            images = torch.empty(1, model.input_channels, model.input_height, model.input_width)
            counter = FlopCounterMode(display=False)
            with counter:
                net(images)
    except Exception as error:  # noqa: BLE001  whatever the meta device does not support
        return found, in_words(error, model.parsed.module)
    macs = int(counter.get_total_flops()) // 2
    return ({**found, "macs": macs}, "") if macs else (found, "no operation that FlopCounterMode knows")
