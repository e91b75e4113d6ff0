"""The commands that work on a study. Heavy modules are imported inside the commands, so that `--help` stays fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from search.cli import control, standalone
from search.cli.own_packages import find_own_packages
from search.cli.terminal import Address, AsJson, Overrides, prepare_streams, results_only, show
from search.console.messages import print_step
from search.errors import EXIT_INPUT, EXIT_INTERRUPTED, HybridSearchError, InputError
from search.runners.interruption import interruptible
from search.text.printable import printable

app = typer.Typer(
    name="hybrid-search",
    help="Search image classifiers that mix convolution with recurrence, and test which differences are real.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file.")]
AllowOther = Annotated[
    bool, typer.Option("--allow-other", help="Learn also from studies with other data or another recipe.")
]
StudyPath = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the folder or URI of a study.")]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"hybrid-search {version('hybrid-search')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Search image classifiers that mix convolution with recurrence, and test which differences are real."""


def main() -> NoReturn:
    """Run the command line; every fault of the user's becomes one line and an exit code."""
    os.umask(os.umask(0o077) | 0o002)  # what is written here is never for everybody to change
    prepare_streams()
    code: Any = 0
    try:
        with results_only(), interruptible():
            find_own_packages()
            code = app(standalone_mode=False)
    except HybridSearchError as error:
        for line in error.faults:
            line = printable(line, keep="\n")
            print(f"error: {line}" if not line.startswith(" ") else line, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  click's own errors come in several shapes
        sys.exit(_fault_exit(error))
    if code == EXIT_INTERRUPTED:  # by a KeyboardInterrupt, which typer turns into a result
        print("error: interrupted; finished work is saved, run the same command again to continue", file=sys.stderr)
    # A command that has an exit code of its own raises click's Exit, which becomes the result.
    sys.exit(code if isinstance(code, int) else 0)


def _fault_exit(error: Exception) -> int:
    """Show what click found wrong with the command, or the operating system's refusal; raise everything else."""
    from search.storage.disk import describe_fault, find_fault

    fault = find_fault(error) if isinstance(error, OSError) else None
    if fault is not None:
        print(f"error: {printable(describe_fault(fault, 'a file'))}", file=sys.stderr)
        return EXIT_INPUT
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if not callable(code) and code is not None:
        if callable(show):
            show()
        return int(code)
    raise error


def _with_address(overrides: list[str] | None, address: str | None) -> list[str]:
    return [*(overrides or []), *([f"resources.address={address}"] if address else [])]


def _find(study: str, overrides: list[str] | None, *, train: bool = False) -> Any:  # noqa: ANN401
    if train:
        print_step(f"reading {study}")
    from search.commands.finding import find_checked

    return find_checked(study, overrides or [], train=train)


@app.command()
def demo(overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Run the whole path on the embedded digits, in a few minutes.

    Runs sweep, compare, export and predict without a network.
    """
    print_step("loading the program")  # which takes seconds
    from search.commands.demo import run_demo
    from search.journal.comparison_file import to_dict
    from search.journal.decision import decision_of
    from search.study.shipped import shipped_study

    result = run_demo(overrides or [])
    study = result.study
    decision = decision_of(result.document.choice, result.document)

    def lines() -> list[str]:
        return [
            "",
            *(item.sentence for item in result.document.comparisons),
            *([f"Decision: {decision}."] if decision else []),
            "",
            *(
                f"{Path(item.path).name}: a {truth}, predicted {item.label} ({item.probability:.2f})"
                for truth, item in result.predictions
            ),
            "",
            f"export      {result.export_folder}   (registry: {result.registered})",
            f"look        hybrid-search ui {study.folder}",
            f"            hybrid-search status {study.folder}",
            f"next        hybrid-search plan {shipped_study('ecrnn-cifar10')}   ({result.elapsed_secs:.0f} s so far)",
        ]

    show(
        as_json,
        lambda: {
            "comparison": to_dict(result.document),
            "export": str(result.export_folder),
            "elapsed_secs": result.elapsed_secs,
        },
        lines,
    )


@app.command()
def plan(
    study: StudyFile,
    difference: Annotated[float | None, typer.Option(help="Target difference, a fraction; 0.01 is one point.")] = None,
    sd_repeats: Annotated[float | None, typer.Option(help="SD of the differences between repeats, a fraction.")] = None,
    discordance: Annotated[
        float | None, typer.Option(help="Share of test images on which two models disagree.")
    ] = None,
    allow_other: AllowOther = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check a study and estimate cost and repeats; train nothing."""
    from search.commands.timing import EpochTimer

    with EpochTimer() as timer:  # loads torch meanwhile
        from search.commands import plan as planning
        from search.compare.power import Assumptions
        from search.study.load import load_study

        stated = Assumptions(difference=difference, sd_repeats=sd_repeats, discordance=discordance)
        found = planning.make_plan(load_study(study, overrides or []), stated, timer, allow_other=allow_other)
    show(as_json, lambda: planning.to_dict(found), lambda: planning.to_lines(found))


@app.command()
def sweep(
    study: StudyFile,
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Save and stop after this many minutes."),
    ] = None,
    allow_other: AllowOther = False,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Run the sweep of a study, or resume it."""
    print_step(f"reading {study}")
    from search.study.load import load_study
    from search.sweep.run import run_sweep

    extra = [] if time_budget is None else [f"search.time_budget_mins={time_budget}"]
    config = load_study(study, [*_with_address(overrides, address), *extra])
    run_sweep(config, allow_other=allow_other)
    _show_status(config, as_json, str(study))


@app.command()
def status(
    study: StudyPath,
    check: Annotated[
        bool, typer.Option("--check", help="Do journal, Optuna and MLflow agree? Exit code 1 if not.")
    ] = False,
    importance: Annotated[
        bool, typer.Option("--importance", help="Show which parameters mattered among the trials instead.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again whenever it changes, until Ctrl-C.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Add scores with their corrections, first trials and verdicts.")
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the counts, nominee and failures of a study."""
    if check and importance:
        raise InputError("--check and --importance: expected one of them, found both; run the command twice")
    if watch:
        if check or importance or as_json:
            raise InputError("status --watch: expected no --check, --importance or --json beside it; leave out one")
        control.watch_status(study, overrides, is_verbose=verbose)
        return
    config = _find(study, overrides)
    if importance:
        from search.report import importance_text

        mattered = importance_text.read_importance(config)
        show(
            as_json,
            lambda: importance_text.to_dict(config, mattered),
            lambda: importance_text.to_lines(config, mattered),
        )
        return
    if not check:
        _show_status(config, as_json, study, is_verbose=verbose)
        return
    from search.commands import check as checking

    found = checking.check(config)
    show(as_json, lambda: checking.to_dict(found), lambda: checking.to_lines(found))
    raise typer.Exit(found.exit_code)


def _show_status(config: Any, as_json: bool, study: str, *, is_verbose: bool = False) -> None:  # noqa: ANN401
    from search.report import overview
    from search.report.status_lines import to_lines

    found = overview.make_overview(config)
    show(as_json, lambda: overview.to_dict(found), lambda: to_lines(found, study, is_verbose=is_verbose))


@app.command()
def compare(
    study: StudyPath,
    repeats: Annotated[int | None, typer.Option(min=1, help="Repeats to train, instead of the file's.")] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Race: add repeats, drop losers, confirm the winner."),
    ] = False,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train finalists and baselines on fresh repeats and test them.

    All configurations share the seed and split of each repeat.
    """
    extra = [f"compare.repeats={repeats}"] if repeats is not None else []
    given = [*_with_address(overrides, address), *extra]
    config = _find(study, given, train=True)
    from search.compare.run import run_compare, run_until_decided
    from search.console.next_steps import next_lines
    from search.console.tables import to_table
    from search.journal.comparison_file import to_dict
    from search.journal.decision import decision_of

    document = run_until_decided(config) if until_decided else run_compare(config)
    show(
        as_json,
        lambda: {**to_dict(document), "decision": decision_of(document.choice, document)},
        lambda: [
            *to_table(document).splitlines(),
            "",
            f"files       {config.folder / 'comparison'}",
            *next_lines(("export", "report", *(("ui",) if config.tracking.enabled else ())), study),
        ],
    )


@app.command()
def report(
    study: StudyPath,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Also write the page to this file.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a study.

    The page is written into the study's folder and copied to MLflow.
    """
    from search.report.write import write_report

    config = _find(study, overrides)
    written = write_report(config, to)
    show(
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
        str | None,
        typer.Option("--config", metavar="NAME", help=("Export this configuration of the comparison instead.")),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Export this trial of the sweep instead.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Export the K highest-ranked trials, in subfolders."),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write the model for ONNX Runtime.", show_default=False)
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write the winner to a folder and register it in MLflow.

    The folder contains config, weights, program, evidence and a model card. The winner is the confirmed winner of the
    comparison, else the sweep's nominee; `status` shows which.
    """
    from search.export.command import export_all, to_lines, to_rows

    found = _find(study, overrides)
    exported = export_all(found, to, config=config_name, trial=trial, top=top, onnx=onnx)
    show(as_json, lambda: to_rows(exported, top is not None), lambda: to_lines(exported))


for command in (
    control.trials,
    control.stop,
    control.enqueue,
    control.extend,
    control.pause,
    control.studies,
    control.archive,
    control.delete,
    standalone.predict,
    standalone.models,
    standalone.schema,
    standalone.reproduce,
    standalone.data,
    standalone.analyze,
):
    app.command()(command)


@app.command()
def ui(
    study: StudyPath,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    overrides: Overrides = None,
) -> None:
    """Serve the MLflow UI on this study's store until Ctrl-C."""
    from search.commands.ui import serve_ui
    from search.study.load import find_study

    raise typer.Exit(serve_ui(find_study(study, overrides or []), host=host, port=port))


if __name__ == "__main__":
    main()
