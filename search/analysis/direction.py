"""Direction of a metric by its name: if the name suggests that lower is better, the user must state the direction."""

from __future__ import annotations

import re

_WORDS = (
    "loss losses error errors err nll perplexity ppl brier ece mce ace rmse mse mae mape smape rmsle msle logloss "
    "crossentropy xent xentropy ce bce wer cer ter eer fid kl kld jsd divergence deviance regret risk hinge residual "
    "residuals cost fpr fnr hamming misclassification distance rmsd mad entropy bpc bpb latency runtime seconds secs "
    "sec ms time duration energy flops macs params parameters memory inaccuracy incorrect wrong mistakes false fdr"
)
LOWER = frozenset(_WORDS.split())
"""Words that name metrics for which lower is better."""
_ENDINGS = ("loss", "error", "perplexity", "entropy", "mse", "nll")
"""Endings of compound words: valloss, testerror."""

_COMPLEMENT = re.compile(r"^(.*/)?\s*(1|one)[\s_]*(-|\u2212|minus)[\s_]*(?!shot|nn)")
"""A score taken from 1, such as `1-accuracy` or `val/1-f1`; the second sign is a typographic minus."""


def words_of(name: str) -> list[str]:
    """Return the words of a name: `valLoss`, `val_loss`, `val/loss` and `VAL-LOSS` give val and loss."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[^a-z]+", parted.lower()) if word]


def says_lower(name: str) -> bool:
    """Return whether the name of a metric suggests that lower is better.

    Args:
        name: A name such as `val_loss`; whole words are compared, case-insensitively.

    Returns:
        Also True for scikit-learn's `neg_log_loss`, whose sign is flipped: the name alone does not prove the direction.
    """
    return bool(_COMPLEMENT.search(name.lower())) or any(
        word in LOWER or word.endswith(_ENDINGS) for word in words_of(name)
    )


def direction_fault(name: str) -> str:
    """Return the fault for such a metric if its direction is not stated."""
    turned = {"neg", "negative"} & set(words_of(name))
    if turned:
        return (
            f"{name!r} may be a loss with the sign reversed; add --higher-is-better if its values are negated, else "
            "--lower-is-better"
        )
    return (
        f"the name {name!r} suggests that lower values are better, but the larger mean would win; add "
        "--lower-is-better (or --higher-is-better, if the name is misleading)"
    )
