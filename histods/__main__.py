"""Run the command line: `histods`, or `python -m histods`."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run a command; Ctrl-C also ends it quietly while its modules are imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from histods.cli import main as cli

    cli.main()


if __name__ == "__main__":
    main()
