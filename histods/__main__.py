"""Run the command line with `python -m histods`."""

from __future__ import annotations

from histods.cli import main

main()
