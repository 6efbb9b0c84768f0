"""The command line: ``aiforge``."""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name."""
    from aiforge.cli.main import app

    app()
