"""The text of an export's model card. Names come from folders and files, so each is escaped for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.console.scores import score_rows
from search.export.usage import to_usage
from search.journal.selection import Selection
from search.text.counted import num_runs
from search.text.printable import printable

NUM_CLASSES_SHOWN = 20
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]~$"})
"""Characters that are special within a line of Markdown, with their escapes."""
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})
"""Characters that are special in HTML and in Markdown tables, with their escapes."""


def escaped(text: str) -> str:
    """Escape a text as one line of Markdown that shows it unchanged: no markup, HTML or control characters.

    >>> escaped("a | <b>")
    'a &#124; &lt;b&gt;'
    """
    return printable(text).translate(_MARKUP).translate(_HTML)


def to_card(
    evidence: dict[str, Any],
    *,
    study: str,
    data: str,
    selection: Selection,
    sentences: Sequence[str],
    places: dict[str, str],
    tracking_uri: str | None = None,
) -> str:
    """Return the model card as Markdown.

    Args:
        evidence: Content of evidence.json.
        study: Name of the study.
        data: Name of the data set.
        selection: Scores of the configuration.
        sentences: Verdict sentences of the configuration's comparisons.
        places: Field of config.yaml -> the path or address on this machine that it contains.
        tracking_uri: Address of MLflow without secrets, where the model is registered; None: nowhere.
    """
    model, weights, program = evidence["model"], evidence["weights"], evidence["program"]
    classes = model["classes"]
    more = len(classes) - NUM_CLASSES_SHOWN
    kinds = ", ".join(map(escaped, classes[:NUM_CLASSES_SHOWN])) + (f" and {more} more" if more > 0 else "")
    runs = num_runs(weights.get("num_blocks", 1))
    claims = [*(sentences or [_claim(evidence["state"], runs)]), *(f"Note: {note}." for note in evidence["notes"])]
    own = model.get("own")
    usage = to_usage(model, onnx="onnx" in evidence, study=study, tracking_uri=tracking_uri)
    rows = [[printable(cell).translate(_HTML) for cell in row] for row in score_rows(selection)]
    scores = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    named = "".join(f"\n* `{field}`: {escaped(place)}" for field, place in places.items())
    return f"""# {escaped(evidence["name"])}

{evidence["state"].capitalize()}: from the study `{study}` on `{data}`.

## Claims

{chr(10).join(f"> {escaped(claim)}" for claim in claims)}

| score | accuracy | what it is |
|---|---|---|
{scores}

`evidence.json` records the evidence: every repeat with its seeds and split, and all versions.

## Model

{_kind(model)}. Input: RGB images of {model["height"]} x {model["width"]} pixels.
Classes: {kinds}.

The weights come from one training ({weights["why"]}). Its test accuracy
{_percent(weights["test_accuracy"])} is that of one run, not the estimate above.{_recipe(weights)}
Scores were measured in {weights["precision"]} ({escaped(str(weights["machine"].get("device", "device unknown")))}).
{_program(program)}{_onnx(evidence.get("onnx"))}

## How to use it

{_own_use(own) if own else BUILT_IN_USE}
{f"{PROGRAM_USE}{chr(10)}{usage}" if "missing" not in program else ""}
`config.yaml` has paths of the machine that exported it. On another machine, replace them with `--set FIELD=PATH`:
{named}

## Limits

The model was tested only on images like those of `{data}`. Its probabilities are not calibrated.
"""


BUILT_IN_USE = """    hybrid-search predict . IMAGE...      # image files or folders; needs only this folder
    hybrid-search sweep config.yaml       # trains this one point again

`predict` builds the model from the settings in `evidence.json` and the weights in `model.safetensors`; neither can
execute anything."""
PROGRAM_USE = """`model.pt2` (torch.export) is the same model as a program for deployment without this package: it maps
uint8 images (batch, height, width, 3) of its size to class probabilities, and contains the class names and the
preprocessing. Loading a .pt2 file may execute code from it: load it only if you trust its source.
"""


def _own_use(own: Mapping[str, Any]) -> str:
    """Return how to use an own model."""
    module, _, function = str(own["factory"]).partition(":")
    values = ", ".join(f"{name}: {value}" for name, value in own["point"].items())
    place = f"code/{module}" if module.endswith(".py") else f"the installed module {module}"
    return f"""    hybrid-search predict . IMAGE... --trust-code   # runs the code that builds the model
    hybrid-search sweep config.yaml                 # trains this one point again

The function {escaped(function)} in {escaped(place)} builds the model: read it before you run it.
Its point: {escaped(values) or "empty"}.
Without this package: call it with the point, `num_classes` and `image_size`, and load `model.safetensors` with
`load_state_dict`. The module receives float images (batch, 3, height, width), normalised as (pixel / 255 - mean) / std
with the constants in `evidence.json`.
"""


def _kind(model: Mapping[str, Any]) -> str:
    num = f"{model['parameters_torch']:,} parameters"
    if own := model.get("own"):
        return f"An image classifier of the user's own, built by {escaped(own['factory'])}, with\n{num}"
    keras, steps = model["parameters_keras"], model["sequential_steps"]
    return f"An image classifier with {num} ({keras:,} as Keras counts) and\n{steps} sequential steps"


def _program(program: Mapping[str, Any]) -> str:
    if "missing" in program:
        return f"There is no `model.pt2`: torch.export cannot trace this model\n({escaped(str(program['missing']))})."
    return (
        f"`model.pt2` computes in {program['precision']}; it agrees with {program['with_what']}\n"
        f"on {100 * program['share']:.1f} % of {program['num_images']} test images."
    )


def _onnx(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return ""
    return (
        f"\n`model.onnx` is the same program for ONNX Runtime (opset {check['opset']}): on {check['num_images']} test "
        f"images its\nprobabilities differ by at most {check['largest_difference']:.0e}."
    )


def _claim(state: str, runs: str) -> str:
    """Return the claim of a configuration that was not compared, whose score is the mean of some runs."""
    if state.startswith("nominated"):
        return f"Nominated, not confirmed: the sweep selected it for its score in {runs}. Run `hybrid-search compare`."
    return "Chosen by hand: no declared comparison includes it."


def _recipe(weights: dict[str, Any]) -> str:
    """Return what the recipe means for the weights, beginning with a line break; empty for the usual recipe."""
    lines = ""
    if weights.get("keep") == "best":
        lines += (
            f"\nThe weights are those after epoch {weights['epoch']} of {weights['num_epochs']}, which had the highest "
            "validation accuracy; that accuracy\nis biased upward by this choice, a test accuracy is not."
        )
    if weights.get("class_weights") == "balanced":
        lines += (
            "\nIt was trained with balanced class weights: each class had the same total weight in the loss, so rare\n"
            "classes are predicted more often than without."
        )
    return lines


def _percent(value: float | None) -> str:
    return "(not measured)" if value is None else f"({100 * value:.1f} %)"
