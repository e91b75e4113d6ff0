"""Entry point of `python -m search.copies`."""

import sys

from search.copies.main import main

if __name__ == "__main__":
    sys.exit(main())
