"""The command line: its commands are in `histods.commands`; here is what all of them have in common."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from histods import __version__
from histods.commands import audit, demo, plot, remap
from histods.errors import HistodsError

app = typer.Typer(
    name="histods",
    help="Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"histods {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand."""


def main() -> NoReturn:
    """Run a command; the one place where errors become a line and an exit status."""
    debug = "--debug" in sys.argv[1:]
    try:
        status = app(standalone_mode=False)
    except (HistodsError, typer.exceptions.TyperException) as error:
        if debug:
            raise
        text = error.format_message() if isinstance(error, typer.exceptions.TyperException) else str(error)
        sys.exit(_say(text, 2))
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:
        status = 1
    except OSError as error:
        if debug:
            raise
        sys.exit(_say(f"Expected to read and write files, found: {error}; mend that and run again.", 2))
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        sys.exit(_say(f"Expected no such thing, found {kind}: {error}; run again with --debug and report it.", 2))
    if status == 130:
        _say("interrupted; run the same command again to go on", status)
    sys.exit(status)


def _say(text: str, status: int) -> int:
    """Write one line to stderr."""
    print("histods:", " ".join(text.split()), file=sys.stderr)
    return status


for name, command in (("audit", audit), ("remap", remap), ("plot", plot), ("demo", demo)):
    app.command(epilog=f"Example: {command.EXAMPLE}")(getattr(command, name))
