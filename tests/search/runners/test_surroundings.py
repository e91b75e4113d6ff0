"""What lies in the working folder or stands in the shell does not reach the workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.console import messages as lines
from search.runners import node_check as nodes
from search.runners.ray_local import MAX_CHOSEN, alone
from search.runners.ray_settings import ENVIRONMENT

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
REPO = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("/tmp/" + MAX_CHOSEN * "x", ""),
        ("/proc/no", "cannot be written ("),
        ("relative", "is not an absolute path"),
    ],
)
def test_a_session_folder_that_ray_cannot_use_is_ignored_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chosen: str, words: str
) -> None:
    monkeypatch.setattr(lines, "_warned", set())
    monkeypatch.setenv("RAY_TMPDIR", chosen)
    with alone() as options:
        assert "_temp_dir" in options
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: RAY_TMPDIR is ignored: {chosen} ")
    assert words in line


def test_a_session_folder_that_ray_can_use_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    with alone() as options:
        assert "_temp_dir" not in options


def test_variables_of_the_shell_do_not_steer_ray() -> None:
    program = (
        "import os, search.runners.ray_settings as it\n"
        "assert not [name for name in os.environ if name.startswith('TUNE_') and name not in it.ENVIRONMENT]\n"
        "assert 'RAY_AIR_LOCAL_CACHE_DIR' not in os.environ\n"
        "assert {name: os.environ[name] for name in it.ENVIRONMENT} == it.ENVIRONMENT\n"
    )
    shell = {"TUNE_RESULT_DIR": "/x", "RAY_AIR_LOCAL_CACHE_DIR": "/x", "TUNE_GLOBAL_CHECKPOINT_S": "no number"}
    env = {**os.environ, **dict.fromkeys(ENVIRONMENT, "other"), **shell, "PYTHONPATH": str(REPO)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=60)


def test_workers_take_the_working_folder_only_where_the_packages_lie_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from search.runners.ray_join import _Job

    monkeypatch.chdir(tmp_path)
    assert _Job()._runtime_env_has_working_dir()
    monkeypatch.chdir(next(nodes.package_folders()).parent)
    assert not _Job()._runtime_env_has_working_dir()


@pytest.mark.slow
def test_a_sweep_trains_beside_modules_of_our_names_in_an_odd_folder(
    tmp_path: Path, make_study: Callable[..., Any], study_data: dict[str, Any]
) -> None:
    folder = tmp_path / "a%41 b?c=1#d"
    folder.mkdir()
    for name in ("search.py", "spaces.py", "hybrid_models.py"):
        (folder / name).write_text("raise SystemExit('the user s own')")
    study = study_data | {"storage": "runs", "resources": {"runner": "ray"}, "tracking": {}}
    study |= {"train": {**study_data["train"], "epochs": 1}, "search": {"trials": 1}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    # As the console script does: the folder of the script comes first on the path, not the working folder.
    program = f"import sys; sys.path[0] = {str(REPO)!r}; sys.argv[0] = '/bin/x'; from search.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "sweep", "study.yaml"],
        cwd=folder,
        env={**os.environ, "TUNE_RESULT_DIR": "/x", "RAY_AIR_LOCAL_CACHE_DIR": "/x", "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "1 completed" in ended.stdout
    assert (folder / "runs" / "mlflow.db").stat().st_size
    assert not (tmp_path / "a").exists()


def test_tune_prints_nothing_of_a_trial_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    from ray.tune.progress_reporter import TrialProgressCallback
    from ray.tune.utils.callback import _create_default_callbacks

    from search.runners.ray_tune import Silent

    callbacks = _create_default_callbacks([Silent()])
    (reporter,) = [item for item in callbacks if isinstance(item, TrialProgressCallback)]
    trial: Any = type("Trial", (), {"last_result": {}, "error_file": None})()
    reporter.on_trial_complete(0, [trial], trial)
    reporter.on_trial_error(0, [trial], trial)
    assert capsys.readouterr() == ("", "")
