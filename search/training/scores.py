"""Scores of a classifier beside its accuracy. Shapes: C classes, N images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def balanced_accuracy(confusion_CC: NDArray[np.int64]) -> float:
    """Return the mean recall over the classes that have images.

    >>> balanced_accuracy(np.array([[9, 1], [1, 1]]))
    0.7

    Args:
        confusion_CC: Number of images by true class (rows) and predicted class.
    """
    sizes_C = confusion_CC.sum(axis=1)
    there_C = sizes_C > 0
    return float((np.diag(confusion_CC)[there_C] / sizes_C[there_C]).mean())


def macro_f1(confusion_CC: NDArray[np.int64]) -> float:
    """Return the mean F1 score over the classes that have images or were predicted.

    Args:
        confusion_CC: Number of images by true class (rows) and predicted class.
    """
    both_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1)
    there_C = both_C > 0
    return float((2 * np.diag(confusion_CC)[there_C] / both_C[there_C]).mean())


def auroc(logits_NC: torch.Tensor, labels_N: torch.Tensor) -> float | None:
    """Return the area under the ROC curve of each class against the rest, averaged over the classes.

    A tie between an image of the class and another one counts one half.

    Args:
        logits_NC: Output of the model; images are ordered by the probability of the class.
        labels_N: True classes.

    Returns:
        From 0 to 1; None if all images are of one class.
    """
    probabilities_CN = logits_NC.double().softmax(dim=1).T.contiguous()
    sorted_CN = probabilities_CN.sort(dim=1).values
    below_CN = torch.searchsorted(sorted_CN, probabilities_CN)
    up_to_CN = torch.searchsorted(sorted_CN, probabilities_CN, right=True)
    ranks_CN = (below_CN + up_to_CN + 1).double() / 2  # from 1, tied images at their mean rank
    is_class_CN = labels_N == torch.arange(len(ranks_CN), device=labels_N.device)[:, None]
    num_C = is_class_CN.sum(dim=1).double()
    rest_C = len(labels_N) - num_C
    there_C = (num_C > 0) & (rest_C > 0)
    if not bool(there_C.any()):
        return None
    above_C = (ranks_CN * is_class_CN).sum(dim=1) - num_C * (num_C + 1) / 2
    return float((above_C / (num_C * rest_C))[there_C].mean())
