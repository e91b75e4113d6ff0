"""`python -m search.cli` is `hybrid-search`."""

from search.cli import main

main()
