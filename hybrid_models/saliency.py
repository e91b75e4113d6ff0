"""Saliency maps.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def saliency(model: nn.Module, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
    """Compute the gradient magnitude of the true class's logit with respect to each pixel.

    Readout per_step has no logits; the logarithm of the averaged probability takes their place.

    Args:
        model: The model; it is run in evaluation mode and left unchanged.
        images_BCHW: Normalised images.
        labels_B: True class indices.

    Returns:
        Saliency of each pixel, (B, H, W): the largest absolute gradient over the channels.

    Reference:
        Simonyan, Vedaldi, Zisserman (2013), section 3.1.
    """
    was_training = {module: module.training for module in model.modules()}
    images_BCHW = images_BCHW.detach().requires_grad_(True)
    try:
        model.eval()
        # RNNs of cuDNN have no backward pass in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            scores_B1 = model(images_BCHW).gather(1, labels_B[:, None])
            # In evaluation mode images do not affect each other, so the gradient of the sum is that of each score.
            (gradient_BCHW,) = torch.autograd.grad(scores_B1.sum(), images_BCHW)
    finally:
        for module, training in was_training.items():
            module.training = training
    return gradient_BCHW.abs().amax(dim=1)
