"""The training objective.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_models.autoencoder import Autoencoder
from hybrid_models.layers.conv_lstm import ConvLSTM


def objective(
    model: nn.Module,
    images_BCHW: Tensor,
    labels_B: Tensor,
    *,
    label_smoothing: float = 0.0,
    rnn_l2: float = 0.0,
    class_weights_K: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the loss of a batch: cross-entropy, an autoencoder's reconstruction error, and an L2 penalty on RNNs.

    A module outside of this package may return (logits, extra), whose scalar extra is added to the loss, and may have a
    method `loss(logits, labels)` that replaces the cross-entropy.

    Cross-entropy and reconstruction error are computed in float32 even under autocast.

    Args:
        model: A model of any family, or any module from images to logits.
        images_BCHW: Normalised images.
        labels_B: Class indices.
        label_smoothing: Share of the target that is distributed over all classes.
        rnn_l2: Weight of the sum of squares of the input and recurrent kernels of all recurrences.
        class_weights_K: Weight of an image's cross-entropy, by its true class, for hard and smoothed targets alike.
            The batch is averaged over its images, not over their weights (as in Keras; torch divides by the weights),
            so that the mean over micro-batches is that of the whole batch. None: all images have the weight 1.

    Returns:
        The loss, a scalar, and the logits (B, K).

    Reference:
        Yilmaz et al., section IV: 0.5 MSE + 0.5 CE; the MSE is the mean over all elements of the normalised input.
        Yin, Zhang, Shao (2019), section 3: a norm penalty on the RNN's weights.
    """
    if isinstance(model, Autoencoder):
        code_BCHW = model.encode(images_BCHW)
        logits_BK, reconstruction_BCHW = model.classify(code_BCHW), model.decode(code_BCHW)
        error = F.mse_loss(reconstruction_BCHW.to(images_BCHW.dtype), images_BCHW)
        class_error = _cross_entropy(logits_BK, labels_B, label_smoothing, class_weights_K)
        loss = model.recon_weight * error + (1 - model.recon_weight) * class_error
    else:
        output = model(images_BCHW)
        logits_BK, extra = output if isinstance(output, tuple) else (output, None)
        own_loss = getattr(model, "loss", None)
        if callable(own_loss):
            loss = own_loss(logits_BK, labels_B)
        else:
            loss = _cross_entropy(logits_BK, labels_B, label_smoothing, class_weights_K)
        if extra is not None:
            loss = loss + extra
    if rnn_l2:
        loss = loss + rnn_l2 * sum(kernel.square().sum() for kernel in recurrent_kernels(model))
    return loss, logits_BK


def _cross_entropy(logits_BK: Tensor, labels_B: Tensor, label_smoothing: float, weights_K: Tensor | None) -> Tensor:
    if weights_K is None:
        return F.cross_entropy(logits_BK, labels_B, label_smoothing=label_smoothing)
    losses_B = F.cross_entropy(logits_BK, labels_B, label_smoothing=label_smoothing, reduction="none")
    return (weights_K[labels_B] * losses_B).mean()


def recurrent_kernels(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the input and recurrent kernels of all recurrences, without biases and peepholes."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase | ConvLSTM):
            yield from (weight for name, weight in module.named_parameters() if name.startswith("weight_"))
