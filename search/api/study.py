"""A study from Python: the methods are the commands of the same names."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.api.shown import Shown
from search.errors import HybridSearchError, InputError, NothingToDoError

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search.study.config import StudyConfig

IN_MEMORY = "the study given to from_dict"
"""Name of such a study in messages."""


@dataclass(frozen=True, kw_only=True)
class MlflowExperiment:
    """Where a study's runs are in MLflow.

    Examples:
        >>> place = search.Study.load("my-study.yaml").mlflow_experiment              # doctest: +SKIP
        >>> client = mlflow.MlflowClient(tracking_uri=place.uri)                       # doctest: +SKIP
        >>> client.get_experiment_by_name(place.name)                                  # doctest: +SKIP
    """

    uri: str
    """Tracking URI. It contains the password that the study file gives, if it gives one; the `repr` does not."""
    name: str

    def __repr__(self) -> str:
        from search.uris import redacted

        return f"MlflowExperiment(uri={redacted(self.uri)!r}, name={self.name!r})"


class Study:
    """A study: its file, and what its folder records.

    Make one with `Study.load` or `Study.from_dict`. Each method reads the study's folder again;
    the study file and the source of an own model are those of the moment of `load`.
    Every error is a `search.HybridSearchError` with one line per fault in `faults`.

    Examples:
        >>> import search
        >>> study = search.Study.load("my-study.yaml", search={"trials": 20})   # doctest: +SKIP
        >>> study.sweep()                                                       # doctest: +SKIP
        >>> study.compare()                                                     # doctest: +SKIP
        >>> study.export("winner")                                              # doctest: +SKIP
    """

    def __init__(self, given: StudyConfig | None, source: str, overrides: tuple[str, ...]) -> None:
        self._given = given
        self._source = source
        self._overrides = overrides

    @classmethod
    def load(cls, path: str | os.PathLike[str], **overrides: Any) -> Study:  # noqa: ANN401
        """Read and check a study file, or find a study by its folder or URI.

        Args:
            path: A study file; or the folder or URI of a study that was started.
            **overrides: Fields of the study file that are replaced, as with `--set`; sections are merged: `seed=1`,
                `search={"trials": 20}`.

        Returns:
            The study.

        Raises:
            StudyError: The study file is invalid; one line per fault.
            NothingToDoError: The folder contains no study.
        """
        from search.storage.location import is_uri
        from search.study.load import find_study, folder_of, load_study

        assignments = tuple(_assignments(overrides))
        path = str(path) if is_uri(str(path)) else folder_of(Path(path).expanduser())
        if isinstance(path, str) or path.is_dir():
            find_study(str(path), assignments)
            return cls(None, str(path), assignments)
        return cls(load_study(path, assignments), str(path), assignments)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Study:
        """Check a study that is given as plain data, with the sections of a study file.

        Args:
            data: Section -> fields: `{"name": "digits", "data": {"name": "digits"}, ...}`. Relative paths start at the
                working folder.

        Raises:
            StudyError: The data are invalid; one line per fault.
        """
        from search.study.load import parse_study

        if not isinstance(data, Mapping):
            raise InputError(f"data: expected a mapping of sections to fields, found {type(data).__name__}")
        return cls(parse_study(dict(data), IN_MEMORY), IN_MEMORY, ())

    @property
    def name(self) -> str:
        """Name of the study."""
        return self._config.name

    @property
    def folder(self) -> Path:
        """The study's folder on this machine."""
        return self._config.folder

    @property
    def mlflow_experiment(self) -> MlflowExperiment | None:
        """Tracking URI and name of the experiment; None if tracking is disabled."""
        from search.study.tracking_place import tracking_place

        place = tracking_place(self._config)
        return None if place is None else MlflowExperiment(uri=place.uri, name=place.experiment)

    def plan(self) -> Shown:
        """Check the study and estimate cost and repeats; train nothing."""
        from search.commands import plan

        found = plan.make_plan(self._config)
        return Shown(data=plan.to_dict(found), lines=tuple(plan.to_lines(found)))

    def sweep(self, *, time_budget: float | None = None) -> Shown:
        """Run the sweep, or resume it.

        The first interrupt (Ctrl-C, the notebook's stop button) saves the running trials and raises
        `InterruptedStudyError`; call it again to continue.

        Args:
            time_budget: Minutes after which the state is saved and the sweep stops; None: as the study says.

        Returns:
            The status after the sweep.
        """
        from search.sweep.run import run_sweep

        config = self._config
        if time_budget is not None:
            is_number = isinstance(time_budget, int | float) and not isinstance(time_budget, bool)
            if not is_number or not 0 < time_budget < math.inf:
                raise InputError(f"time_budget: expected minutes above 0, found {time_budget}")
            search = config.search.model_copy(update={"time_budget_mins": float(time_budget)})
            config = config.model_copy(update={"search": search})
        run_sweep(config)
        return _status(config)

    def compare(self, *, repeats: int | None = None, until_decided: bool = False) -> Shown:
        """Train finalists and baselines on fresh repeats, and test which differences are real.

        Args:
            repeats: Number of repeats instead of the study's.
            until_decided: Whether to race: add repeats, drop losers, confirm the winner.
        """
        from search.compare.run import run_compare, run_until_decided

        config = self._found(train=True)
        if repeats is not None:
            if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
                raise InputError(f"repeats: expected a number of at least 1, found {repeats!r}")
            compare = config.compare.model_copy(update={"repeats": repeats})
            config = config.model_copy(update={"compare": compare})
        document = run_until_decided(config) if until_decided else run_compare(config)
        return _comparison(document)

    def status(self) -> Shown:
        """Return counts, nominee and failures of the sweep, and the verdicts."""
        return _status(self._found())

    def trials(self, *, where: str | None = None, sort: str | None = None) -> pd.DataFrame:
        """Return every trial of the sweep: state, scores, counts, seconds and parameters, one row each.

        Args:
            where: Filter, as of the command: `"num_parameters < 500000"`.
            sort: Column to sort by; None: by number.
        """
        import pandas as pd

        from search.commands.trials import make_table

        table = make_table(self._found(), where=where, sort=sort)
        return pd.DataFrame([dict(row) for row in table.rows], columns=[column.name for column in table.columns])

    def repeats(self) -> pd.DataFrame:
        """Return every repeat of the comparisons: configuration, block, state, accuracies and seconds, one row each."""
        import pandas as pd

        from search.commands.trials import repeat_rows

        columns, rows = repeat_rows(self._found())
        return pd.DataFrame(rows, columns=columns)

    def comparison(self) -> Shown:
        """Return the newest comparison; nothing is trained.

        Raises:
            NothingToDoError: There is none.
        """
        from search.journal.comparison_file import load_comparison

        config = self._found()
        document = load_comparison(config.folder)
        if document is None:
            raise NothingToDoError(f"{config.location}: no comparison yet; run compare() first")
        return _comparison(document)

    def report(self, to: str | os.PathLike[str] | None = None) -> Path:
        """Write one self-contained HTML page about the study.

        Args:
            to: Also write the page to this file.

        Returns:
            The page.
        """
        from search.report.write import write_report

        return write_report(self._found(), None if to is None else Path(to)).file

    def export(
        self,
        to: str | os.PathLike[str],
        *,
        config: str | None = None,
        trial: int | None = None,
        top: int | None = None,
        onnx: bool = False,
    ) -> Shown:
        """Write the winner to a folder, with its evidence, and register it in MLflow; `search.load` reads the folder.

        Args:
            to: The folder to write.
            config: Name of a configuration of the comparison, instead of the winner.
            trial: Number of a trial of the sweep, instead of the winner.
            top: Number of highest-ranked trials, in subfolders, instead of the winner.
            onnx: Whether to also write the model for ONNX Runtime; needs the extra `onnx`.
        """
        from search.export.command import export_all, to_lines, to_rows

        exported = export_all(self._found(), Path(to), config=config, trial=trial, top=top, onnx=onnx)
        return Shown(data=to_rows(exported, top is not None), lines=tuple(to_lines(exported)))

    def optuna_study(self) -> optuna.Study:
        """Return the sweep as an Optuna study in memory, for Optuna's own plots and importances.

        It is a copy of the journal: changing it changes nothing in the study.
        """
        from search.sampling.in_memory import make_study

        return make_study(self._found())

    @property
    def _config(self) -> StudyConfig:
        """The study as it would run now."""
        from search.study.load import find_study

        return self._given if self._given is not None else find_study(self._source, self._overrides, fill=True)

    def _found(self, *, train: bool = False) -> StudyConfig:
        """Return the study as it was run; see `find_checked`."""
        from search.commands.finding import find_checked, find_given

        if self._given is None:
            return find_checked(self._source, self._overrides, train=train)
        return find_given(self._given, self._source, self._overrides, train=train)

    def __repr__(self) -> str:
        try:
            config = self._config
        except HybridSearchError:
            return f"<Study {self._source}>"
        return f"<Study {config.name} in {config.location}>"

    def _repr_html_(self) -> str:
        from search.report.markup import tag

        try:
            return _status(self._found())._repr_html_()
        except HybridSearchError:
            return str(tag("pre", repr(self)))


def _status(config: StudyConfig) -> Shown:
    from search.journal.comparison_file import load_comparison
    from search.report import overview
    from search.report.status_lines import to_lines

    found = overview.make_overview(config)
    document = load_comparison(config.folder)
    return Shown(
        data=overview.to_dict(found),
        lines=tuple(to_lines(found, is_verbose=True)),
        comparisons=tuple(document.comparisons) if document else (),
    )


def _comparison(document: Any) -> Shown:  # noqa: ANN401
    from search.console.tables import to_table
    from search.journal.comparison_file import to_dict

    return Shown(
        data=to_dict(document), lines=tuple(to_table(document).splitlines()), comparisons=tuple(document.comparisons)
    )


def _assignments(fields: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield fields as assignments `path.to.key=value`: sections are merged, `space` and fields are replaced."""
    import yaml

    for name, value in fields.items():
        if isinstance(value, Mapping) and not path and name != "space":
            yield from _assignments(value, f"{name}.")
            continue
        try:
            json.dumps(value)
            # In brackets, as a text of several lines; YAML writes 1.0e-05, which it reads as a number again.
            text = yaml.safe_dump([value], default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
            yield f"{path}{name}={text.strip()[1:-1]}"
        except (TypeError, ValueError, yaml.YAMLError):
            raise InputError(
                f"{path}{name}: expected numbers, text, lists and mappings, found {type(value).__name__}"
            ) from None
