"""The command line: parse, call, print. Everything heavy is imported inside the verbs."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer

from search.errors import EXIT_INTERRUPTED, HybridSearchError

app = typer.Typer(
    name="hybrid-search",
    help="Searches image classifiers that mix convolution with recurrence, and says which difference is real.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file.")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, or the folder of a study.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field: --set train.epochs=3")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join: auto, host:port or ray://host:port.")]


_result: list[TextIO] = []
"""Where results go while everything else that is printed goes to standard error."""


def main() -> NoReturn:
    """Run the command line; every fault of the user's becomes one line and an exit code."""
    try:
        with _results_only():
            app(standalone_mode=False)
    except HybridSearchError as error:
        for line in error.faults:
            print(f"error: {line}" if not line.startswith(" ") else line, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted; what was finished is saved, the same command goes on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  click's own errors come in several shapes
        sys.exit(_usage_exit(error))
    sys.exit(0)


@contextlib.contextmanager
def _results_only() -> Iterator[None]:
    """With --json, let nothing but the document reach standard output, whatever a library prints."""
    if "--json" not in sys.argv or "--help" in sys.argv:
        yield
        return
    _result.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _result.clear()


def _usage_exit(error: Exception) -> int:
    """Show what click found wrong with the command itself; let everything else travel as the bug it is."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if not callable(code) and code is not None:
        if callable(show):
            show()
        return int(code)
    raise error


def _out(text: str) -> None:
    print(text, file=_result[0] if _result else sys.stdout)


def _print(as_json: bool, document: Callable[[], Any], lines: Callable[[], list[str]]) -> None:
    if as_json:
        _out(json.dumps(_no_nan(document()), indent=1, allow_nan=False))
        return
    for line in lines():
        _out(line)


def _no_nan(value: Any) -> Any:  # noqa: ANN401
    """JSON has no word for what is not a number but null."""
    if isinstance(value, Mapping):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_address(overrides: list[str] | None, address: str | None) -> list[str]:
    return [*(overrides or []), *([f"resources.address={address}"] if address else [])]


@app.command()
def demo(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """The whole path on the embedded digits, in minutes, without a network."""
    from search.demo import run_demo

    result = run_demo(overrides or [])
    study = result.study

    def lines() -> list[str]:
        return [
            "",
            *(item["sentence"] for item in result.document["comparisons"]),
            "",
            *(
                f"{Path(item.path).name}: a {truth}, predicted {item.label} ({item.probability:.2f})"
                for truth, item in result.predictions
            ),
            "",
            f"export      {result.export_folder}   (registry: {result.registered or 'off'})",
            f"look        hybrid-search ui {study.folder}",
            f"            hybrid-search status {study.folder}",
            f"next        hybrid-search plan spaces/studies/ecrnn-cifar10.yaml   ({result.elapsed_secs:.0f} s so far)",
        ]

    _print(
        as_json,
        lambda: {
            "comparison": result.document,
            "export": str(result.export_folder),
            "elapsed_secs": result.elapsed_secs,
        },
        lines,
    )


@app.command()
def plan(
    study: StudyFile,
    difference: Annotated[
        float | None, typer.Option(help="How many repeats for it? A fraction: 0.01 is one percentage point.")
    ] = None,
    sd_repeats: Annotated[
        float | None, typer.Option(help="Standard deviation of the differences between blocks, a fraction.")
    ] = None,
    discordance: Annotated[
        float | None, typer.Option(help="Share of test images on which two configurations disagree.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check everything, foretell the cost, and how many repeats a difference takes; trains nothing."""
    from search import plan as planning
    from search.foresight import Stated
    from search.study import load_study

    stated = Stated(difference=difference, sd_repeats=sd_repeats, discordance=discordance)
    found = planning.make_plan(load_study(study, overrides or []), stated)
    _print(as_json, lambda: planning.to_dict(found), lambda: planning.to_lines(found))


@app.command()
def sweep(study: StudyFile, overrides: Overrides = None, address: Address = None, as_json: AsJson = False) -> None:
    """Run the sweep of a study, or go on with it."""
    from search.drive import run_sweep
    from search.study import load_study

    config = load_study(study, _with_address(overrides, address))
    run_sweep(config)
    _show_status(config, as_json)


@app.command()
def status(study: StudyPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Counts, nominee and failures of a study."""
    from search.study import find_study

    _show_status(find_study(study, overrides or []), as_json)


def _show_status(config: Any, as_json: bool) -> None:  # noqa: ANN401
    from search import overview

    found = overview.make_overview(config)
    _print(as_json, lambda: found, lambda: overview.to_lines(found))


@app.command()
def compare(
    study: StudyPath,
    repeats: Annotated[int | None, typer.Option(min=1, help="Blocks to train on, instead of the file's.")] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Add block after block, drop decided losers, confirm the survivor."),
    ] = False,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train finalists and baselines on fresh shared blocks, and judge."""
    from search.drive import run_compare, run_until_decided
    from search.study import find_study
    from search.tables import to_table

    extra = [f"compare.repeats={repeats}"] if repeats is not None else []
    config = find_study(study, [*_with_address(overrides, address), *extra])
    document = run_until_decided(config) if until_decided else run_compare(config)
    _print(
        as_json,
        lambda: document,
        lambda: [*to_table(document).splitlines(), "", f"files       {config.folder / 'comparison'}"],
    )


@app.command()
def report(
    study: StudyPath,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="A second place for the page.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a study into its folder; MLflow gets a copy."""
    from search.report import write_report
    from search.study import find_study

    written = write_report(find_study(study, overrides or []), to)
    _print(
        as_json,
        lambda: {
            "file": str(written.file),
            "num_bytes": written.num_bytes,
            "headline": written.headline,
            "verdicts": list(written.verdicts),
        },
        lambda: [written.headline, f"report      {written.file}   ({written.num_bytes / 1e6:.1f} MB)"],
    )


@app.command()
def export(
    study: StudyPath,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write.")],
    config_name: Annotated[
        str | None, typer.Option("--config", help="A configuration of the comparison, instead of its winner.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write the winner's folder: config, weights, program, evidence, model card; register it in MLflow."""
    from search.export import export as write
    from search.export import register
    from search.study import find_study

    config = find_study(study, overrides or [])
    exported = write(config, to, name=config_name)
    winner = exported.winner
    registered = register(config, exported)
    _print(
        as_json,
        lambda: {"name": winner.name, "state": winner.state, "folder": str(to), "registered": registered},
        lambda: [
            f"{winner.name}: {winner.state}",
            *(item["sentence"] for item in winner.comparisons),
            f"folder      {to}",
            f"registry    {registered or 'not registered'}",
        ],
    )


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `export` wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    as_json: AsJson = False,
) -> None:
    """Classify image files with an exported model."""
    from dataclasses import asdict

    from search.predict import predict as classify

    found = classify(folder, images)
    _print(
        as_json,
        lambda: [asdict(item) for item in found],
        lambda: [f"{item.path}: {item.label} ({item.probability:.2f})" for item in found],
    )


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="One preset: its layers instead of the list.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every preset with its parameter counts and sequential steps."""
    from search import catalogue

    if name is None:
        rows = catalogue.list_models()
        _print(as_json, lambda: rows, lambda: catalogue.to_lines(rows))
        return
    layers = catalogue.list_layers(name)
    _print(as_json, lambda: layers, lambda: catalogue.layers_to_lines(layers))


@app.command()
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
    _print(
        as_json,
        lambda: document,
        lambda: [
            *to_table(document).splitlines(),
            "",
            f"files       {Path(document['folder'], FOLDER)}: table.md, reproduction.json, "
            f"{', '.join(document['pictures'])}",
        ],
    )


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="digits, cifar10, caltech101, tiny-imagenet, imagenet or folder.")],
    root: Annotated[str | None, typer.Option(help="Where the files lie.")] = None,
    download: Annotated[bool, typer.Option(help="Fetch what is missing, or say how, where it may not be.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Resize to this many pixels a side; imagenet: crop.")] = None,
    top_classes: Annotated[int | None, typer.Option(help="Keep the classes with the most images only.")] = None,
    test: Annotated[str, typer.Option(help="auto, official or held-out: which images are the test part.")] = "auto",
    test_fraction: Annotated[float, typer.Option(help="Share that is held out for the test.")] = 1 / 3,
    as_json: AsJson = False,
) -> None:
    """Fetch or check a data set, and say what is there; options are those of `data` in a study file.

    Every image is read, so that a damaged one is named now; not of imagenet, which is decoded while it is used.
    """
    from search.data.datasets import DataConfig
    from search.data.describe import describe
    from search.data.store import open_data
    from search.progress import counter

    config = DataConfig(
        name=name,
        root=root,
        download=download,
        image_size=image_size,
        top_classes=top_classes,
        test=test,
        test_fraction=test_fraction,
    )
    open_data(config, on_progress=counter("decoding"))
    found = describe(config)
    _print(as_json, lambda: found, lambda: [f"{key:18}{_in_words(value)}" for key, value in found.items()])


def _in_words(value: object) -> str:
    if value == {}:
        return "-"
    if isinstance(value, dict):
        return "; ".join(f"{key} {_in_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {None: "-", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    )


@app.command()
def analyze(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A .csv, .parquet or .npz file of results; see docs/analysis.md."),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="EXPERIMENT", help="Instead of a file: an MLflow experiment, by name or id.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="With --mlflow: the metric whose last value is the score.")] = None,
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
        Path | None, typer.Option("--to", metavar="DIR", help="Write analysis.json, table.md, figures.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge anybody's results: which configuration is better, by how much, and whether that is real."""
    from search.analysis.document import to_lines, write_files
    from search.analysis.options import Options, choose_source
    from search.analysis.run import analyze as judge

    source = choose_source(file, mlflow, metric=metric, group_by=group_by, block=block, uri=tracking_uri)
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
    )
    files = write_files(analysis.document, analysis.comparisons, to) if to else []
    _print(
        as_json,
        lambda: analysis.document,
        lambda: [*to_lines(analysis.document), *(["", f"files       {to}: {', '.join(files)}"] if files else [])],
    )


@app.command()
def ui(
    study: StudyPath,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    overrides: Overrides = None,
) -> None:
    """Serve the MLflow UI on this study's store until Ctrl-C."""
    from search.study import find_study
    from search.ui import serve_ui

    raise typer.Exit(serve_ui(find_study(study, overrides or []), host=host, port=port))


if __name__ == "__main__":
    main()
