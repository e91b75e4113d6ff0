"""The `models` command: lists presets with their counts, or the layers of one preset. Builds no model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hybrid_models.config.arithmetic import layers, macs, num_parameters, num_parameters_keras
from hybrid_models.config.model import ModelConfig
from hybrid_models.config.shapes import sequential_steps
from search.errors import InputError
from spaces.presets import UnknownPreset, load_preset, preset_names

INPUT = {"input_channels": 3, "input_height": 32, "input_width": 32, "num_classes": 10}
"""Input of the counted models: CIFAR-10, as in the papers."""


def _config(name: str) -> ModelConfig:
    return ModelConfig.from_dict({**load_preset(name), **INPUT})


def list_models() -> list[dict[str, Any]]:
    """Return parameters by both conventions, sequential steps, and multiply-adds per image of every preset."""
    configs = {name: _config(name) for name in preset_names()}
    return [
        {
            "name": name,
            "torch_trainable": num_parameters(config),
            "keras_total": num_parameters_keras(config),
            "sequential_steps": sequential_steps(config),
            "macs": macs(config),
        }
        for name, config in configs.items()
    ]


def to_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the presets as lines of text."""
    width = max(len(row["name"]) for row in rows)
    return [
        f"{'preset':{width}}{'torch':>12}{'keras':>12}{'steps':>7}{'MMAC/image':>11}",
        *(
            f"{row['name']:{width}}{row['torch_trainable']:>12,}{row['keras_total']:>12,}"
            f"{row['sequential_steps']:>7,}{row['macs'] / 1e6:>11,.1f}"
            for row in rows
        ),
    ]


def list_layers(name: str) -> list[dict[str, Any]]:
    """Return the layers of a preset as papers print them: numbered names, outputs (H, W, C), parameters as in Keras.

    Raises:
        InputError: There is no preset of that name.
    """
    try:
        config = _config(name)
    except UnknownPreset as error:
        raise InputError(str(error)) from None
    seen: Counter[str] = Counter()
    rows = []
    for layer in layers(config):
        number = f"_{seen[layer.kind]}" if seen[layer.kind] else ""  # Keras does not number the first of a kind
        seen[layer.kind] += 1
        rows.append({"layer": layer.kind + number, "output": list(layer.output), "parameters": layer.keras})
    return rows


def layers_to_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the layer table as lines of text."""
    lines = [f"{'layer':36}{'output':>16}{'parameters':>14}"]
    lines += [f"{row['layer']:36}{'x'.join(map(str, row['output'])):>16}{row['parameters']:>14,}" for row in rows]
    return [*lines, f"{'total':36}{'':16}{sum(row['parameters'] for row in rows):>14,}"]
