"""Attach figures to MLflow runs; the same figures are not drawn twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from search.journal.follower import Follower
from search.journal.mlflow_run import PREFIX
from search.records import TrialRecord
from search.tracking.held_runs import HeldRuns
from search.tracking.mlflow_tracker import Store
from spaces.space import Space


class Pictures:
    """Figures of one study, whose state is a tag of the run that they are attached to."""

    def __init__(
        self,
        folder: Path,
        journal: Follower,
        *,
        space: Callable[[], Space] | None,
        print_line: Callable[[str], None],
    ) -> None:
        self._folder, self._journal, self._space, self._print_line = folder, journal, space, print_line

    def draw_record(self, store: Store, held: HeldRuns, record: TrialRecord) -> None:
        """Attach the curves and confusion matrices of one trial or repeat."""
        run = held.get(record.key)
        confusions = [name for name in ("confusion", "test_confusion") if name in record.artifacts]
        state = str(len(record.curve))
        if run is None or run.tags.get(f"{PREFIX}pictures") == state or (len(record.curve) < 2 and not confusions):
            return
        from search.tracking import figures

        with tempfile.TemporaryDirectory() as folder:
            if len(record.curve) >= 2:
                figures.draw_curves(record, Path(folder, "curves.png"))
                store.log_file(run, Path(folder, "curves.png"))
            for name in confusions:
                file = Path(folder, f"{name}.png")
                try:
                    counts = figures.load_confusion(self._folder / record.artifacts[name])
                    figures.draw_confusion(counts, self._journal.classes, file)
                except (OSError, ValueError) as error:
                    self._print_line(f"{record.label}: no figure of {record.artifacts[name]}: {error}")
                else:
                    store.log_file(run, file)
        held.log(run, tags={f"{PREFIX}pictures": state})

    def draw_sweep(self, store: Store, held: HeldRuns) -> None:
        """Attach the figures of all trials, and tag what they show."""
        run = held.get("sweep")
        records = [record for record in self._journal.of_kind("trial") if record.curve]
        state = str(sum(len(record.curve) for record in records))
        if run is None or not records or run.tags.get(f"{PREFIX}pictures") == state:
            return
        from search.tracking.sweep_pictures import draw_sweep_pictures

        with tempfile.TemporaryDirectory() as folder:
            tags = draw_sweep_pictures(self._journal, self._space, Path(folder))
            for picture in sorted(Path(folder).iterdir()):
                store.log_file(run, picture)
            held.log(run, tags={**tags, f"{PREFIX}pictures": state})
