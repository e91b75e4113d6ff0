"""Entry point of `python -m search.copies`."""

import gc
import sys

gc.set_threshold(100_000)  # importing mlflow makes a million objects; with the default, collections take a sixth of it

from search.copies.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
