"""Entry point of `python -m search.copies`."""

import gc
import sys

gc.disable()  # importing mlflow makes a million objects and no garbage, and collecting takes a sixth of the time

from search.copies.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
