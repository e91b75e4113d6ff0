"""The command line: parses arguments, calls the commands and prints their results."""

from __future__ import annotations


def main() -> None:
    """Run the command line: the entry point `hybrid-search`."""
    from search.cli.app import main as run

    run()
