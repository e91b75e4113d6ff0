"""The command line: parse, call, print."""

from __future__ import annotations


def main() -> None:
    """Run the command line: the entry point `hybrid-search`."""
    from search.cli.app import main as run

    run()
