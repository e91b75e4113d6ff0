"""Where full precision is kept although the surrounding code runs in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(values: Tensor) -> torch.autocast:
    """Context in which autocast is off, on the device of `values`."""
    return torch.autocast(device_type=values.device.type, enabled=False)
