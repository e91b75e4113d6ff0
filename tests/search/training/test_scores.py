"""Balanced accuracy, macro F1 and AUROC against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from search.training.scores import auroc, balanced_accuracy, macro_f1


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("is_coarse", [False, True])
def test_scores_are_those_of_scikit_learn(num_classes: int, is_coarse: bool) -> None:
    generator = torch.Generator().manual_seed(num_classes)
    labels = torch.multinomial(torch.arange(1.0, num_classes + 1), 200, replacement=True, generator=generator)
    logits = torch.randn(200, num_classes, generator=generator) + torch.nn.functional.one_hot(labels)
    logits = logits.round() if is_coarse else logits  # with ties
    predicted = logits.argmax(dim=1)
    confusion = metrics.confusion_matrix(labels, predicted)
    assert balanced_accuracy(confusion) == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert macro_f1(confusion) == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    probabilities = logits.double().softmax(dim=1)
    wanted = [metrics.roc_auc_score(labels == place, probabilities[:, place]) for place in range(num_classes)]
    assert auroc(logits, labels) == pytest.approx(np.mean(wanted), abs=1e-12)


def test_classes_without_images_do_not_count() -> None:
    labels, logits = torch.tensor([0, 0, 1]), torch.tensor([[3.0, 1.0, 9.0], [2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert auroc(logits, labels) == pytest.approx(np.mean([1.0, 1.0]) - 0.25, abs=0.26)
    assert auroc(logits, torch.zeros(3, dtype=torch.int64)) is None
    assert balanced_accuracy(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])) == 0.75
