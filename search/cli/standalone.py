"""The commands that need no study: predict, models, reproduce, data, analyze."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from search.cli.terminal import Address, AsJson, Overrides, out, show
from search.text.printable import printable


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `export` wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, folders or patterns.")],
    as_json: AsJson = False,
) -> None:
    """Classify images with an exported model.

    What cannot be read is named on standard error and does not keep the others from being classified; the exit code is
    2 then.
    """
    from dataclasses import asdict

    from search.errors import EXIT_INPUT
    from search.export.predict import predict as classify
    from search.text.printable import printable

    found = classify(folder, images)
    show(
        as_json,
        lambda: {
            "predictions": [asdict(item) for item in found.predictions],
            "errors": [asdict(item) for item in found.faults],
        },
        lambda: [
            f"{printable(item.path)}: {printable(item.label)} ({item.probability:.2f})" for item in found.predictions
        ],
    )
    for fault in found.faults:
        print(f"error: {printable(fault.reason)}", file=sys.stderr)
    if found.faults:
        raise typer.Exit(EXIT_INPUT)


def models(
    name: Annotated[str | None, typer.Argument(help="One preset: its layers instead of the list.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every preset with its parameter counts and sequential steps."""
    from search.commands import models as catalogue

    if name is None:
        rows = catalogue.list_models()
        show(as_json, lambda: rows, lambda: catalogue.to_lines(rows))
        return
    layers = catalogue.list_layers(name)
    show(as_json, lambda: layers, lambda: catalogue.layers_to_lines(layers))


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="ecrnn, yin, johnson or yilmaz.")],
    data_set: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="yilmaz: cifar10, caltech101 or tiny5.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Where the images lie.")] = None,
    cells: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Cells or groups, such as cnn,crnn-bilstm-16,control; or all.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Shared blocks that every cell is trained on.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Keep at most this many training images.")] = None,
    images: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="johnson: test images whose saliency is drawn, by position.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Folder that holds studies, instead of runs.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Every block derives from it.")] = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train a paper's table again, as repeats over shared blocks, and set ours beside theirs."""
    from search.reproduce.run import FOLDER
    from search.reproduce.run import reproduce as run
    from search.reproduce.setting import Options, parse_numbers
    from search.reproduce.table import to_table

    document = run(
        paper,
        Options(
            data=data_set,
            root=root,
            repeats=repeats,
            epochs=epochs,
            limit=limit,
            cells=tuple(name.strip() for name in (cells or "").split(",") if name.strip()),
            images=parse_numbers("--images", images or ""),
            overrides=tuple(overrides or ()),
            storage=storage,
            address=address,
            seed=seed,
        ),
    )
    show(
        as_json,
        lambda: document,
        lambda: [
            *to_table(document).splitlines(),
            "",
            f"files       {Path(document['folder'], FOLDER)}: table.md, reproduction.json, "
            f"{', '.join(document['pictures'])}",
        ],
    )


def data(
    name: Annotated[str, typer.Argument(help="digits, cifar10, caltech101, tiny-imagenet, imagenet or folder.")],
    root: Annotated[str | None, typer.Option(help="Where the files lie.")] = None,
    download: Annotated[bool, typer.Option(help="Fetch what is missing, or say how, where it may not be.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Resize to this many pixels a side; imagenet: crop.")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Keep these classes only; folders of these names are classes.")
    ] = None,
    top_classes: Annotated[int | None, typer.Option(help="Keep the classes with the most images only.")] = None,
    test: Annotated[str, typer.Option(help="auto, official or held-out: which images are the test part.")] = "auto",
    test_fraction: Annotated[float, typer.Option(help="Share that is held out for the test.")] = 1 / 3,
    as_json: AsJson = False,
) -> None:
    """Fetch or check a data set, and say what is there; options are those of `data` in a study file.

    Every image is read, so that a damaged one is named now; not of imagenet, which is decoded while it is used.
    """
    from search.commands.data import describe
    from search.console.progress import counter
    from search.data.datasets import DataConfig
    from search.data.store import open_data

    config = DataConfig(
        name=name,
        root=root,
        download=download,
        image_size=image_size,
        classes=tuple(name.strip() for name in (classes or "").split(",") if name.strip()),
        top_classes=top_classes,
        test=test,
        test_fraction=test_fraction,
    )
    open_data(config, on_progress=counter("decoding"))
    found = describe(config)
    show(as_json, lambda: found, lambda: [line for key, value in found.items() for line in _data_lines(key, value)])


def _data_lines(key: str, value: object) -> list[str]:
    """One line for a value, and one for each note."""
    items = value if key == "notes" and isinstance(value, list) and value else [value]
    return [f"{'' if place else key:18}{printable(_in_words(item))}" for place, item in enumerate(items)]


def _in_words(value: object) -> str:
    if value in ({}, []):
        return "-"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_in_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {None: "-", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    )


def analyze(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A .csv, .jsonl, .parquet or .npz file of results; see docs/analysis.md."),
    ] = None,
    config_column: Annotated[
        str | None, typer.Option(metavar="A,B", help="The column (or columns) that tells configurations apart.")
    ] = None,
    block_column: Annotated[
        str | None, typer.Option(metavar="A,B", help="The column that names the block: a seed, a split; or: row.")
    ] = None,
    score_column: Annotated[str | None, typer.Option(metavar="A", help="The column of scores.")] = None,
    dataset_column: Annotated[str | None, typer.Option(metavar="A", help="The column that names the data set.")] = None,
    image_column: Annotated[str | None, typer.Option(metavar="A", help="The column that names the image.")] = None,
    label_column: Annotated[str | None, typer.Option(metavar="A", help="The column of true labels.")] = None,
    prediction_column: Annotated[str | None, typer.Option(metavar="A", help="The column of predicted labels.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The scores are losses or errors: the lower mean wins.")
    ] = False,
    higher_is_better: Annotated[
        bool, typer.Option("--higher-is-better", help="In spite of a name such as neg_log_loss.")
    ] = False,
    scale: Annotated[
        float | None, typer.Option(help="Divide the scores: 100 for percent; 1 takes any number in its own unit.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="last|STEP", help="Of a learning curve: the step whose score counts.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="The runs share no seed or split: compare them as independent.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="EXPERIMENT", help="Instead of a file: an MLflow experiment, by name or id.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="The metric whose last value is the score; of a file: where a column names metrics."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="With --mlflow: params or tags that tell configurations apart.")
    ] = None,
    block: Annotated[str | None, typer.Option(help="With --mlflow: the tag or param that names the block.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="With --mlflow: instead of MLFLOW_TRACKING_URI or runs/mlflow.db.")
    ] = None,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="Compare every other one with this one.")] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Compare every one with every other one.")] = False,
    family: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML: a list of [first, second], or families of such lists by name."),
    ] = None,
    estimand: Annotated[
        str | None,
        typer.Option(metavar="new-data|this-data", help="What is claimed: of new images, or of these very ones."),
    ] = None,
    ratio: Annotated[
        str | None, typer.Option(metavar="3/7", help="Scores of random splits: images scored over images trained on.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Error rate of a whole family; 0.05 if not given.")] = None,
    rope: Annotated[
        float | None, typer.Option(help="Differences below this fraction do not matter; 0.005 if not given.")
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="NAME", help="A test of one's own choice.")] = None,
    adjust: Annotated[
        str | None, typer.Option(metavar="NAME", help="How p-values are adjusted; holm if not given.")
    ] = None,
    num_images: Annotated[
        int | None, typer.Option(help="Images behind each score, for --method pooled-images.")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="For chance, where a diverged training left nothing.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Write analysis.json, table.md, table.tex, methods.tex, figures."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge anybody's results: which configuration is better, by how much, and whether that is real."""
    import sys

    from search.analysis.asked import Asked
    from search.analysis.document import to_lines, write_files
    from search.analysis.faults import AnalysisError
    from search.analysis.options import Options, choose_source
    from search.analysis.run import analyze as judge

    if lower_is_better and higher_is_better:
        raise AnalysisError("--lower-is-better and --higher-is-better: expected one of them, found both; give one")
    asked = Asked(
        config=config_column,
        block=block_column,
        score=score_column,
        dataset=dataset_column,
        image=image_column,
        label=label_column,
        prediction=prediction_column,
        metric=None if mlflow else metric,
        at=at,
        direction="lower" if lower_is_better else "higher" if higher_is_better else None,
        scale=scale,
        unpaired=unpaired,
    )
    source = choose_source(file, mlflow, metric=metric, group_by=group_by, block=block, uri=tracking_uri)
    told: list[str] = []
    analysis = judge(
        source,
        Options(
            control=control,
            all_pairs=all_pairs,
            family=family,
            estimand=estimand,
            ratio=ratio,
            alpha=alpha,
            rope=rope,
            method=method,
            adjust=adjust,
            num_images=num_images,
            num_classes=num_classes,
        ),
        asked,
        tell=told.append,
    )
    for line in told:
        print(line, file=sys.stderr) if as_json else out(line)
    files = write_files(analysis.document, analysis.comparisons, to) if to else []
    show(
        as_json,
        lambda: analysis.document,
        lambda: [
            *to_lines(analysis.document, analysis.comparisons),
            *(["", f"files       {to}: {', '.join(files)}"] if files else []),
        ],
    )
