"""Tests draw their images from the global generator; each starts it anew."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
