"""Full precision for layers that are called under autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(values: Tensor) -> torch.autocast:
    """Return a context that disables autocast on the device of `values`."""
    return torch.autocast(device_type=values.device.type, enabled=False)
