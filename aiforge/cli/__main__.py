"""``python -m aiforge.cli``."""

from aiforge.cli import main

main()
