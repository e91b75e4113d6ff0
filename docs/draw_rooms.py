"""Draws the rooms of `search/` from the code: which package imports which, in the order of the layers.

`python docs/draw_rooms.py` writes docs/pictures/rooms.png. The order is the one that the import contract in
pyproject.toml states; a dot above the diagonal would be an import that the contract forbids.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import matplotlib as mpl

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "rooms.png"


def rooms() -> list[str]:
    """List the rooms from the top layer to the bottom one, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(item["layers"] for item in contracts if item["type"] == "layers")
    return [name.strip() for layer in layers for name in layer.split("|")]


def count_lines(room: str) -> int:
    """Count the lines of Python of a room."""
    place = ROOT / "search" / room
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def count_imports(names: list[str]) -> list[list[int]]:
    """Count the imports between rooms: row imports column."""
    graph = grimp.build_graph("search", cache_dir=None)
    counts = [[0] * len(names) for _ in names]
    place = {name: index for index, name in enumerate(names)}
    for module in graph.modules:
        source = module.split(".")[1] if "." in module else ""
        for imported in graph.find_modules_directly_imported_by(module):
            target = imported.split(".")[1] if "." in imported else ""
            if source in place and target in place and source != target:
                counts[place[source]][place[target]] += 1
    return counts


def draw() -> None:
    """Write the picture."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = rooms()
    counts = count_imports(names)
    size = len(names)
    figure, axes = plt.subplots(figsize=(9.6, 7.4), layout="constrained")
    for row, line in enumerate(counts):
        axes.axhspan(row - 0.5, row + 0.5, color="#f2f4f7" if row % 2 else "white", zorder=0)
        for column, count in enumerate(line):
            if count:
                colour = "#0072b2" if column > row else "#d55e00"
                axes.scatter(column, row, s=28 + 16 * count, color=colour, alpha=0.85, zorder=2, linewidths=0)
                axes.text(column, row, str(count), ha="center", va="center", fontsize=6.5, color="white", zorder=3)
    axes.plot([-0.5, size - 0.5], [-0.5, size - 0.5], color="#98a2b3", linewidth=1, zorder=1)
    axes.set_xticks(range(size), names, rotation=60, ha="left", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(size), [f"{name}  ({count_lines(name):,} lines)" for name in names], fontsize=9)
    axes.xaxis.tick_top()
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        "... is imported by the row, so many times. Right of the diagonal: from a layer below, as it must be."
    )
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    draw()
