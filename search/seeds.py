"""Where randomness is born: (study seed, purpose, index) -> block."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Block:
    """Everything random about one training; shared by all configurations that are compared."""

    purpose: str
    """Why it is trained: `sweep`, `compare` or `confirm`. Their blocks never coincide."""
    index: int
    """Position within its purpose, from 0."""
    split_seed: int
    """Draws the training and validation parts."""
    init_seed: int
    """Draws the initial weights and the dropout masks."""
    order_seed: int
    """Draws the order of the images and their augmentation."""

    @property
    def name(self) -> str:
        """Short readable name, unique within a study."""
        return f"{self.purpose}-{self.index}"


def derive(*parts: int | str) -> int:
    """Derive a seed in [0, 2^63) from anything printable; near inputs give unrelated seeds."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def make_block(study_seed: int, purpose: str, index: int) -> Block:
    """Draw the block of a purpose: the same three arguments always give the same block."""
    return Block(
        purpose=purpose,
        index=index,
        split_seed=derive(study_seed, purpose, index, "split"),
        init_seed=derive(study_seed, purpose, index, "init"),
        order_seed=derive(study_seed, purpose, index, "order"),
    )
