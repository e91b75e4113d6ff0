"""Entry point of `python -m search.copies`."""

import gc
import sys

gc.set_threshold(100_000, 2, 2)  # as in `search.cli`, before mlflow is imported

from search.copies.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
