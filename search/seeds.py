"""Derivation of all seeds: (study seed, purpose, index) -> block."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Block:
    """All seeds of one training; configurations are compared on the same blocks."""

    purpose: str
    """Purpose of the training: `sweep`, `compare` or `confirm`. Blocks of different purposes never coincide."""
    index: int
    """Position within its purpose, from 0."""
    split_seed: int
    """Seed of the split into training and validation images."""
    init_seed: int
    """Seed of the initial weights and of dropout."""
    order_seed: int
    """Seed of the order of the images and their augmentation."""

    @property
    def name(self) -> str:
        """Short readable name, unique within a study."""
        return f"{self.purpose}-{self.index}"


def derive(*parts: int | str) -> int:
    """Derive a seed in [0, 2^63) from numbers and texts; similar inputs give unrelated seeds.

    >>> derive(0, "sweep", 0) == derive(0, "sweep", 0)
    True
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def make_block(study_seed: int, purpose: str, index: int) -> Block:
    """Return the block of a purpose and index; the same arguments always give the same block.

    Args:
        study_seed: Seed of the study.
        purpose: `sweep`, `compare` or `confirm`.
        index: Position within the purpose, from 0.
    """
    return Block(
        purpose=purpose,
        index=index,
        split_seed=derive(study_seed, purpose, index, "split"),
        init_seed=derive(study_seed, purpose, index, "init"),
        order_seed=derive(study_seed, purpose, index, "order"),
    )
