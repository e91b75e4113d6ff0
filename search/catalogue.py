"""What `models` lists: presets with their counts."""

from __future__ import annotations

from typing import Any

from search.errors import InputError
from spaces.presets import UnknownPreset, load_preset, preset_names

INPUT = {"input_channels": 3, "input_height": 32, "input_width": 32, "num_classes": 10}
"""The counts are those of CIFAR-10 input, as in the papers."""


def _build(name: str) -> Any:  # noqa: ANN401
    import torch

    from hybrid_models.build import build
    from hybrid_models.config import ModelConfig

    config = ModelConfig.from_dict({**load_preset(name), **INPUT})
    return config, build(config, torch.Generator().manual_seed(0))


def list_models() -> list[dict[str, Any]]:
    """Count every preset by both conventions."""
    from hybrid_models.counting import keras_total, sequential_steps, torch_trainable

    rows = []
    for name in preset_names():
        config, model = _build(name)
        rows.append(
            {
                "name": name,
                "torch_trainable": torch_trainable(model),
                "keras_total": keras_total(model),
                "sequential_steps": sequential_steps(config),
            }
        )
    return rows


def to_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The list for people."""
    lines = [f"{'preset':32}{'torch':>12}{'keras':>12}{'steps':>8}"]
    lines += [
        f"{row['name']:32}{row['torch_trainable']:>12,}{row['keras_total']:>12,}{row['sequential_steps']:>8,}"
        for row in rows
    ]
    return lines


def list_layers(name: str) -> list[dict[str, Any]]:
    """List the layers of one preset.

    Raises:
        InputError: No preset of that name.
    """
    try:
        load_preset(name)  # before torch is imported: a misspelt name is answered at once
    except UnknownPreset as error:
        raise InputError(str(error)) from None
    from hybrid_models.counting import layer_table

    _, model = _build(name)
    return [{"layer": layer, "output": list(shape), "parameters": count} for layer, shape, count in layer_table(model)]


def layers_to_lines(layers: list[dict[str, Any]]) -> list[str]:
    """The layer table for people."""
    lines = [f"{'layer':36}{'output':>16}{'parameters':>14}"]
    lines += [f"{row['layer']:36}{'x'.join(map(str, row['output'])):>16}{row['parameters']:>14,}" for row in layers]
    return [*lines, f"{'total':36}{'':16}{sum(row['parameters'] for row in layers):>14,}"]
