"""Run the sweep of a study, with its checks, runner, journal and display."""

from __future__ import annotations

from search.console.messages import print_step
from search.console.progress import Display, counter
from search.journal.summary import Status, summarise
from search.runners.checks import check_study
from search.runners.interruption import interruptible
from search.runners.session import TRACKER_PATIENCE_SECS, Shown, open_runner, open_session, print_line
from search.study.bind import describe_rejected
from search.study.config import StudyConfig
from search.sweep.sweep import Sweep


@interruptible()
def run_sweep(study: StudyConfig, *, allow_other: bool = False, patience: float = TRACKER_PATIENCE_SECS) -> Status:
    """Run or resume the sweep of a study.

    Args:
        study: The study.
        allow_other: Whether `search.learn_from` may name studies with other data or another recipe.
        patience: Longest wait in seconds, at the end, for the copies in Optuna and MLflow.

    Returns:
        Summary of the trials.

    Raises:
        HybridSearchError: The sweep cannot run or was interrupted; everything computed so far is saved.
    """
    print_step(f"{study.name}: checking the study and its data")
    facts = check_study(study, "sweep", allow_other=allow_other, on_progress=counter("decoding images")).facts
    with open_runner(study, facts) as run, open_session(study, facts, "sweep", patience) as journal:
        shown = Shown()
        sweep = Sweep(
            study=study,
            facts=facts,
            journal=journal,
            allow_other=allow_other,
            on_change=lambda: shown.update(),
            print_line=print_line,
        )
        with Display(
            title=study.name, noun="trials", num_planned=lambda: sweep.num_planned, records=lambda: sweep.records
        ) as display:
            shown.update = display.update
            sweep.obey()
            if not sweep.finished:
                run(sweep)
        if sweep.rejected:
            print_line(f"{study.name}: {describe_rejected(sweep.rejected)} before training")
        if sweep.space_exhausted:
            if sweep.finished:
                journal.note("exhausted")
            print_line(
                f"{study.name}: {sweep.why_exhausted} ({len(sweep.records):,} of {sweep.num_planned:,} planned trials "
                "are run)"
            )
        if sweep.ended_by:
            print_line(f"{study.name}: no new trial begins: {sweep.ended_by}")
        if not sweep.finished and sweep.out_of_time:
            print_line(f"{study.name}: the time budget is used up; run the same command again to continue")
        sweep.check_failures()
        return summarise(sweep.records, sweep.num_planned)
