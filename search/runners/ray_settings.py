"""Ray's environment variables. Import this module before Ray, which reads some of them on import."""

from __future__ import annotations

import os

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Relative paths in study files keep their meaning in the workers.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The journal records everything; Tune's own CSV, JSON and TensorBoard files and snapshots would only cost time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    # This program decides what counts as a failure and whether a trial is retried.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A late call must not start another cluster after the run lost its own.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
}


DROPPED = ("RAY_AIR_LOCAL_CACHE_DIR", "RAY_STORAGE", "AIR_VERBOSITY")
"""Shell variables, besides all of Tune's, that Ray would follow or reject; they are removed."""

for _name in [name for name in os.environ if name.startswith("TUNE_") or name in DROPPED]:
    del os.environ[_name]
os.environ.update(ENVIRONMENT)
