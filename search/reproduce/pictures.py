"""A paper's figures, drawn from the reproduction: sensitivity grid, loss curves, confusion matrices, saliency maps.

Shapes: B images, H height, W width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.compare.repeats import Repeats
from search.reproduce import figures
from search.reproduce.outcomes import Outcome
from search.reproduce.paper import Confusion, HeatMap, Paper
from search.reproduce.setting import Options
from search.storage.disk import load_array
from search.study.bind import DataFacts
from search.study.config import StudyConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SALIENCY = 10
"""Maximum number of images whose saliency is drawn by default: the first of each class."""


def draw(
    study: StudyConfig,
    paper: Paper,
    data: str,
    options: Options,
    facts: DataFacts,
    repeats: Repeats,
    outcomes: Mapping[str, Outcome],
) -> tuple[dict[str, Figure], list[str]]:
    """Draw the paper's figures, as far as the trained cells allow.

    Returns:
        The figures by name, and one line for each that could not be drawn.
    """
    drawn: dict[str, Figure] = {}
    missing: list[str] = []
    trained = {name: outcome for name, outcome in outcomes.items() if outcome.completed}
    if paper.heat_map and (grid := _grid(paper.heat_map, trained)):
        drawn["sensitivity"] = figures.draw_heat_map(grid, paper.heat_map)
    curves = {paper.cells[name].label: trained[name].curves for name in paper.curves if name in trained}
    if curves:
        drawn["curves"] = figures.draw_curves(curves)
    panels = _confusions(study, paper, paper.confusion, data, facts, trained, missing) if paper.confusion else []
    if panels:
        drawn["confusion"] = figures.draw_confusions(panels)
    cells = [name for name in paper.saliency if name in trained]
    if cells:
        try:
            drawn["saliency"] = _saliency(study, paper, cells, options, repeats, trained)
        except FileNotFoundError as error:
            missing.append(f"saliency, {error.filename} is missing")
    return drawn, missing


def _grid(heat_map: HeatMap, trained: Mapping[str, Outcome]) -> list[list[NDArray[np.float64]]]:
    """Return the test accuracies of each field of the grid, NaN if not trained; empty if no field was trained."""
    names = [
        [heat_map.cell.format(row=row, column=column) for column in heat_map.columns.values]
        for row in heat_map.rows.values
    ]
    if not any(name in trained for line in names for name in line):
        return []
    return [
        [trained[name].scores["test"] if name in trained else np.array([np.nan]) for name in line] for line in names
    ]


def _confusions(
    study: StudyConfig,
    paper: Paper,
    confusion: Confusion,
    data: str,
    facts: DataFacts,
    trained: Mapping[str, Outcome],
    missing: list[str],
) -> list[figures.ConfusionPanel]:
    """Return the paper's confusion matrices, then ours, averaged over runs."""
    panels = []
    printed = confusion.printed.get(data)
    if printed and printed.cell in trained:
        theirs = np.array(printed.counts, dtype=np.float64)
        panels.append(figures.ConfusionPanel(f"{paper.cells[printed.cell].label}, theirs", printed.classes, theirs))
    for name in confusion.cells:
        if name not in trained:
            continue
        counts = [_confusion(study, facts, record.artifacts.get("predictions")) for record in trained[name].completed]
        found = [item for item in counts if item is not None]
        label = paper.cells[name].label
        if not found:
            missing.append(f"the confusion matrix of {label}: its repeats have no predictions")
            continue
        runs = "one run" if len(found) == 1 else f"mean of {len(found)} runs"
        panels.append(figures.ConfusionPanel(f"{label}, ours, {runs}", facts.classes, np.mean(found, axis=0)))
    return panels if any("ours" in panel.title for panel in panels) else []


def _confusion(study: StudyConfig, facts: DataFacts, file: str | None) -> NDArray[np.int64] | None:
    """Return the confusion matrix of the test images, (C, C), rows true; None if the predictions were deleted."""
    from search.data.store import open_data

    if file is None or not (study.folder / file).is_file():
        return None
    predicted = load_array(study.folder / file, "uint16", facts.num_test)[0].astype(np.int64)
    size = len(facts.classes)
    cells = open_data(study.data).test.labels * size + predicted
    return np.bincount(cells, minlength=size**2).reshape(size, size)


def _saliency(
    study: StudyConfig,
    paper: Paper,
    cells: list[str],
    options: Options,
    repeats: Repeats,
    trained: Mapping[str, Outcome],
) -> Figure:
    """Draw saliency maps of the true class for the model of each cell's first completed run."""
    import torch

    from hybrid_models.saliency import saliency
    from search.data.batches import EvalBatches
    from search.data.store import open_data
    from search.export.write import load_deployed
    from search.storage.working_copy import fetch

    data = open_data(study.data)
    chosen = np.array(options.images or _first_of_each_class(data.test.labels))
    ((pixels_BHWC, labels_B),) = EvalBatches(data.test, chosen, len(chosen), torch.device("cpu"))
    rows: list[figures.SaliencyRow] = []
    for name in cells:
        record = trained[name].completed[0]
        weights = record.artifacts["weights-0"]
        deployed = load_deployed(
            study, repeats.rebuild(record), fetch(study.location, weights) or study.folder / weights, data
        )
        images_BCHW = (pixels_BHWC.permute(0, 3, 1, 2).float() / 255 - deployed.mean) / deployed.std
        with torch.no_grad():
            predicted = deployed.model(images_BCHW).argmax(dim=1).tolist()
        rows.append(
            figures.SaliencyRow(
                label=paper.cells[name].label,
                maps=saliency(deployed.model, images_BCHW, labels_B).numpy(),
                captions=[data.classes[label] for label in predicted],
            )
        )
    captions = [f"{data.classes[label]} ({at})" for label, at in zip(labels_B.tolist(), chosen.tolist(), strict=True)]
    return figures.draw_saliency(pixels_BHWC.numpy(), captions, rows)


def _first_of_each_class(labels: NDArray[np.int64]) -> list[int]:
    return [int(place) for place in np.sort(np.unique(labels, return_index=True)[1])[:MAX_SALIENCY]]
