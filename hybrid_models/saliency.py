"""Which pixels a class score hangs on.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def saliency(model: nn.Module, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
    """Size of the gradient of the true class's score by each pixel; the score is the logit, not a probability.

    With readout per_step, which has no logits, it is the logarithm of the averaged probability.

    Args:
        model: Evaluated (no dropout, running statistics), and left as it is.
        images_BCHW: Normalised images.
        labels_B: True classes as integers.

    Returns:
        Per pixel (B, H, W) the largest absolute value over the channels.

    Reference:
        Simonyan, Vedaldi, Zisserman (2013), section 3.1.
    """
    was_training = {module: module.training for module in model.modules()}
    images_BCHW = images_BCHW.detach().requires_grad_(True)
    try:
        model.eval()
        # cuDNN's RNNs have no backward pass outside training mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            scores_B1 = model(images_BCHW).gather(1, labels_B[:, None])
            # Evaluated, no image of a batch depends on another, so the sum's gradient is each score's own.
            (gradient_BCHW,) = torch.autograd.grad(scores_B1.sum(), images_BCHW)
    finally:
        for module, training in was_training.items():
            module.training = training
    return gradient_BCHW.abs().amax(dim=1)
