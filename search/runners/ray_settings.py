"""What Ray is told by its environment. Import this before Ray: it reads some of it when it is imported."""

from __future__ import annotations

import os

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Relative paths in study files keep their meaning in the workers.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The journal records; Tune's own CSV, JSON and TensorBoard files and snapshots would only cost time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    # What a trial's failure is, and whether it begins again, is ours to say.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A run that lost its cluster must not start another one by a late call.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
}


DROPPED = ("RAY_AIR_LOCAL_CACHE_DIR", "RAY_STORAGE", "AIR_VERBOSITY")
"""Variables of the shell that Ray would follow or refuse, besides all of Tune's; `ENVIRONMENT` decides."""

for _name in [name for name in os.environ if name.startswith("TUNE_") or name in DROPPED]:
    del os.environ[_name]
os.environ.update(ENVIRONMENT)
