"""What `status --importance` prints: a short table, and the same as plain data."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from search.journal.importance import Importance, what_mattered
from search.journal.reading import read_history
from search.records import Completed, Failed, Infeasible, Stopped
from search.report.claim import command_lines, find_rival
from search.significance.figures.theme import short
from search.significance.importance.choices import MIN_SIDE, ChoiceDifference
from search.significance.importance.factor import Share
from search.study.config import StudyConfig
from search.text.counted import counted

NAME_WIDTH, SHARE_WIDTH = 19, 20
NUM_ROWS = 20
"""Number of parameters that `status` prints."""
NUM_CHOICES = 6
"""Number of choices whose differences `status` prints."""
NO_CLAIM = "Importance is no claim: it describes these trials, none of which was repeated on fresh seeds."
MARKS = (
    "In brackets: the middle 95 % of resamplings of the trials. "
    "~ not beyond chance: shuffled scores give a parameter as much."
)


def read_importance(study: StudyConfig) -> Importance:
    """Compute what mattered in a study's sweep from its journal."""
    return what_mattered(list(read_history(study.folder).records.values()), study.build_space())


def to_dict(study: StudyConfig, importance: Importance) -> dict[str, Any]:
    """Return what mattered as plain data for `--json`."""
    trials, rival = importance.trials, find_rival(importance, study)
    return {
        "study": study.name,
        "trials": {
            "completed": int(trials.ended(Completed).sum()),
            "stopped": int(trials.ended(Stopped).sum()),
            "infeasible": int(trials.ended(Infeasible).sum()),
            "diverged": int(trials.ended(Failed).sum()),
        },
        "score": "val_accuracy",
        "epoch": trials.epoch,
        "rankings": {
            name: asdict(ranking)
            for name, ranking in zip(("reaching", "within", "variance"), importance.rankings, strict=True)
        },
        "choices": [asdict(item) for item in importance.choices],
        "rival": {**asdict(rival), "command": "\n".join(command_lines(rival, study))} if rival else None,
    }


WORDS = {Completed: "completed", Stopped: "stopped early", Infeasible: "infeasible", Failed: "diverged"}


def trials_line(importance: Importance) -> str:
    """Return the counts of the trials, and what is measured on them, in one or two sentences."""
    trials = importance.trials
    counts = ", ".join(f"{trials.ended(kind).sum()} {word}" for kind, word in WORDS.items() if trials.ended(kind).any())
    return f"{counted(len(trials.records), 'trial')} with a result{f': {counts}' if counts else ''}"


def goals_note(study: StudyConfig) -> str:
    """Return that only one of several goals is described; empty for a study with one."""
    others = [name for name in study.search.objectives if name != "val_accuracy"]
    return f"Of the goals, this describes the validation accuracy alone, not {', '.join(others)}." if others else ""


def to_lines(study: StudyConfig, importance: Importance) -> list[str]:
    """Return what mattered as lines of at most 80 columns, apart from names that are longer."""
    lines = [f"study       {study.name} ({study.location})", f"importance  {trials_line(importance)}"]
    lines += [*textwrap.wrap(goals_note(study), 79, initial_indent=" " * 12, subsequent_indent=" " * 12), ""]
    if importance.has_enough_trials:
        lines += _table(importance)
    for title, words in explanations(importance):
        lines += textwrap.wrap(words, 79, initial_indent=f"{title:17}", subsequent_indent=" " * 17)
    if importance.choices:
        lines += ["", *_choice_lines(importance)]
    return [*lines, "", *_claim_lines(study, importance)]


def explanations(importance: Importance) -> list[tuple[str, str]]:
    """Return title and explanation of the three measures; the words `too few trials` where that is so."""
    reaching, within, variance = importance.rankings
    if not importance.has_enough_trials:
        return [("too few trials", reaching.too_few)]
    words = (
        f"PED-ANOVA on all {counted(reaching.num_trials, 'trial')}, by rank in the sweep: what sets the best quarter "
        "of them apart",
        f"PED-ANOVA on the {counted(within.num_trials, 'trial')} of the best quarter: what sets its better half apart",
        f"fANOVA on {counted(variance.num_trials, 'trial')}: share of the variance, over the space, of the accuracy "
        f"after epoch {importance.trials.epoch} that a parameter explains alone; not for conditional parameters",
    )
    return [
        (ranking.title, f"{told}; too few trials: {ranking.too_few}" if ranking.too_few else told)
        for ranking, told in zip(importance.rankings, words, strict=True)
    ]


def share_cell(share: Share | None) -> str:
    """Return a share with its interval; `~` marks one that chance gives as well."""
    if share is None:
        return "-"
    whole = f"{100 * share.share:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
    return whole if share.is_beyond_chance else f"~{whole}"


def _table(importance: Importance) -> Iterator[str]:
    yield "parameter".ljust(NAME_WIDTH) + "".join(ranking.title.rjust(SHARE_WIDTH) for ranking in importance.rankings)
    for name, cells in itertools.islice(table_rows(importance), NUM_ROWS):
        yield short(name, NAME_WIDTH - 1).ljust(NAME_WIDTH) + "".join(cell.rjust(SHARE_WIDTH) for cell in cells)
    if (left := len(importance.parameters) - NUM_ROWS) > 0:
        yield f"and {counted(left, 'parameter')} of less importance, which the report shows"
    yield from ("", *textwrap.wrap(MARKS, 79), "")


def table_rows(importance: Importance) -> Iterator[tuple[str, list[str]]]:
    """Yield each parameter with its three shares in words, most important first."""
    by_name = [{share.parameter: share for share in ranking.shares} for ranking in importance.rankings]
    for name in importance.parameters:
        yield name, [share_cell(shares.get(name)) for shares in by_name]


def _choice_lines(importance: Importance) -> Iterator[str]:
    shown = set(list(dict.fromkeys(item.parameter for item in importance.choices))[:NUM_CHOICES])
    yield f"differences in validation accuracy after epoch {importance.trials.epoch}, in percentage points"
    for item in importance.choices:
        if item.parameter in shown:
            name = short(f"{item.parameter}: {item.a} minus {item.b}", 38)
            counts = f"{item.num_a:>5} and {item.num_b}"
            yield f"{name:39}{100 * item.estimate:+7.2f}  {difference_interval(item):18}{counts}"
    if len({item.parameter for item in importance.choices}) > NUM_CHOICES:
        yield "the differences of the other choices are in the report"


def difference_interval(item: ChoiceDifference) -> str:
    """Return the interval of a difference in percentage points, or in words why there is none."""
    if item.low is None or item.high is None:
        return "too few trials" if min(item.num_a, item.num_b) < MIN_SIDE else "no score varies"
    return f"{100 * item.low:+.2f} to {100 * item.high:+.2f}"


CHOICES_NOTE = (
    "Difference of mean accuracies between the trials with a value and the others, with Welch's 95 % interval, not "
    f"adjusted for their number; none with fewer than {MIN_SIDE} trials on a side. A conditional parameter counts only "
    "trials that have it. The trials also differ in the other parameters, which a sampler chose."
)


def _claim_lines(study: StudyConfig, importance: Importance) -> Iterator[str]:
    rival = find_rival(importance, study)
    yield from textwrap.wrap(NO_CLAIM + (f" For a claim, {rival.words}:" if rival else ""), 79)
    yield from (f"  {line}" for line in command_lines(rival, study)) if rival else ()
