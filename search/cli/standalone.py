"""The commands that need no study: predict, models, reproduce, data, analyze."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from search.cli.terminal import Address, AsJson, Overrides, out, show
from search.text.printable import printable


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `export` wrote.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, folders, patterns, or CSV lists of files.")
    ],
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the predictions to this file instead of printing them."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Show the K most probable classes of each image.")
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the code in DIR that builds an own model.", show_default=False)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Classify images with an exported model.

    Sub-folders that are named like classes give accuracy and confusion. Files that cannot be read are reported on
    standard error; the others are classified, and the exit code is 2.
    """
    from search.errors import EXIT_INPUT
    from search.export.prediction_files import write_predictions

    num_unread = write_predictions(folder, images, to=csv, top=top, as_json=as_json, trust_code=trust_code, write=out)
    if num_unread:
        raise typer.Exit(EXIT_INPUT)


def models(
    name: Annotated[str | None, typer.Argument(help="List the layers of this preset instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List all presets with parameter counts and sequential steps."""
    from search.commands import models as catalogue

    if name is None:
        rows = catalogue.list_models()
        show(as_json, lambda: rows, lambda: catalogue.to_lines(rows))
        return
    layers = catalogue.list_layers(name)
    show(as_json, lambda: layers, lambda: catalogue.layers_to_lines(layers))


def schema() -> None:
    """Print the JSON schema of a study file, for editors."""
    from search.study.fields import study_schema

    print(json.dumps(study_schema(), indent=1))


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="ecrnn, yin, johnson or yilmaz.")],
    data_set: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Data set of yilmaz: cifar10, caltech101 or tiny5.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Folder of the images.")] = None,
    cells: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Cells or groups, such as cnn,control; or all.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Repeats that every cell is trained on.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, instead of the recipe's.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Use at most this many training images.")] = None,
    images: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="Positions of test images for johnson's saliency maps.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Folder for the study, instead of runs/.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed that all repeats derive from.")] = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train a paper's table again and show both tables.

    Every cell is trained on the same repeats (seeds and splits).
    """
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
    name: Annotated[str, typer.Argument(help="digits, cifar10, caltech101, tiny-imagenet, imagenet, folder or npz.")],
    root: Annotated[str | None, typer.Option(help="Folder of the files.")] = None,
    download: Annotated[
        bool, typer.Option(help="Download missing files, where this is possible.", show_default=False)
    ] = False,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels after resizing; imagenet: crop.")] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B,C", help="Use only these classes.")] = None,
    top_classes: Annotated[int | None, typer.Option(help="Use this many classes, those with most images.")] = None,
    test: Annotated[
        str, typer.Option(help="Test part: auto (default), official, held-out.", show_default=False)
    ] = "auto",
    test_fraction: Annotated[
        float, typer.Option(help="Held-out share of the images; default 1/3.", show_default=False)
    ] = 1 / 3,
    as_json: AsJson = False,
) -> None:
    """Download or check a data set and describe it.

    The options are those of `data` in a study file. Every image is read, so damaged images are reported now; imagenet
    is the exception, because its images are decoded during training.
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
    return [f"{'' if place else key:18}{printable(_describe(item))}" for place, item in enumerate(items)]


def _describe(value: object) -> str:
    if value in ({}, []):
        return "-"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_describe(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {None: "-", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    )


def analyze(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A .csv, .jsonl, .parquet or .npz file; see docs/analysis.md."),
    ] = None,
    config_column: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns that identify a configuration.")
    ] = None,
    block_column: Annotated[
        str | None, typer.Option(metavar="A,B", help="Columns that identify a block (seed, split), or row.")
    ] = None,
    score_column: Annotated[str | None, typer.Option(metavar="A", help="Column of scores.")] = None,
    dataset_column: Annotated[str | None, typer.Option(metavar="A", help="Column of the data set.")] = None,
    image_column: Annotated[str | None, typer.Option(metavar="A", help="Column of the image.")] = None,
    label_column: Annotated[str | None, typer.Option(metavar="A", help="Column of true labels.")] = None,
    prediction_column: Annotated[str | None, typer.Option(metavar="A", help="Column of predicted labels.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Scores are losses or errors; the lower mean wins.")
    ] = False,
    higher_is_better: Annotated[
        bool, typer.Option("--higher-is-better", help="Higher scores win, whatever the column's name says.")
    ] = False,
    scale: Annotated[float | None, typer.Option(help="Divisor of scores: 100 for percent; 1 keeps the unit.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="last|STEP", help="Step of the learning curve that is the score.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Runs share no seed or split; compare as independent.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="EXPERIMENT", help="MLflow experiment (name or id), instead of a file.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric that is the score (last value), if rows or runs have many."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="With --mlflow: params or tags of a configuration.")
    ] = None,
    block: Annotated[str | None, typer.Option(help="With --mlflow: tag or param of the block.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="With --mlflow: default MLFLOW_TRACKING_URI or runs/mlflow.db.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(metavar="NAME", help=("Compare every other configuration with this one."))
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Compare every configuration with every other one.")
    ] = False,
    family: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file of pairs [first, second], or of families."),
    ] = None,
    estimand: Annotated[
        str | None,
        typer.Option(metavar="CLAIM", help="Claims are about new-data or this-data."),
    ] = None,
    ratio: Annotated[
        str | None, typer.Option(metavar="3/7", help="Random splits: images scored / images trained on.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Error rate of the whole family (default 0.05).")] = None,
    rope: Annotated[float | None, typer.Option(help="Smallest difference that matters (default 0.005).")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Test to use instead of the automatic choice.")
    ] = None,
    adjust: Annotated[
        str | None, typer.Option(metavar="NAME", help="Adjustment of the p-values (default holm).")
    ] = None,
    num_images: Annotated[int | None, typer.Option(help="Images behind each score, for pooled-images.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Number of classes, to score a lost run as chance.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Also write tables, figures, methods text and JSON."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Analyse results of any program: which configuration is better.

    Reports by how much it is better, and whether the difference is real.
    """
    import sys

    from search.analysis.document import to_lines, write_files
    from search.analysis.faults import AnalysisError
    from search.analysis.options import Options, choose_source
    from search.analysis.read_options import ReadOptions
    from search.analysis.run import analyze as judge

    if lower_is_better and higher_is_better:
        raise AnalysisError("--lower-is-better and --higher-is-better: expected one of them, found both; remove one")
    asked = ReadOptions(
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
