"""The command line: its commands are in `histods.cli.commands`; here is what all of them have in common."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from histods.cli import options
from histods.cli.commands import (
    audit,
    demo,
    describe,
    encode,
    evaluate,
    export,
    export_data,
    fix,
    import_,
    import_data,
    plot,
    remap,
    report,
    sample,
    shard,
    show,
    split,
    status,
    tile,
    train,
    tune,
)
from histods.cli.help import PANELS, STATUSES, register
from histods.errors import HistodsError, TerminatedError
from histods.interrupts import INTERRUPTED, TERMINATED, Interrupts
from histods.printing import escaped
from histods.startup import tune_gc
from histods.version import __version__

_TRAINER = ("torch", "safetensors")
"""Packages of the extra `train`, without which some commands cannot begin."""
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "choose a workspace that you may write to with -w",
    errno.EACCES: "choose a workspace that you may write to with -w",
}
_ENDED = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}

app = typer.Typer(
    name="histods",
    help="Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=f"{STATUSES} 'histods COMMAND --help' explains a command.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"histods {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - _version answers it
        bool, typer.Option("--version", "-v", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit, remap and prepare histology patch datasets: images with masks, by the hundred thousand."""
    if context.invoked_subcommand is None:
        place = Path(os.environ.get("HISTODS_WORKSPACE") or options.DEFAULT_WORKSPACE)
        if not place.is_dir():
            typer.echo(context.get_help())  # Rich has printed it itself, and there is no more
            raise typer.Exit(2)
        status.status(place)
    if "--help" not in sys.argv:
        tune_gc()


def main() -> NoReturn:
    """Run a command; the one place where errors become a line and an exit status."""
    debug = "--debug" in sys.argv[1:]
    _open_streams()
    Interrupts(_say_ended)
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort, TerminatedError) as error:
        sys.exit(_say_ended(TERMINATED if isinstance(error, TerminatedError) else INTERRUPTED))
    except BrokenPipeError:  # whoever read the output has seen enough
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(1)  # as Typer does where it sees it first
    except Exception as error:
        if debug:
            raise
        sys.exit(_say(_explain(error), 2))
    sys.exit(_say_ended(status))  # Typer turns Ctrl-C into this status by itself


def _say_ended(status: int) -> int:
    """Say once how a command was ended; its status."""
    if status in _ENDED:
        _say(f"{_ENDED.pop(status)}; run the same command again to continue", status)
    return status


def _open_streams() -> None:
    """Open what the caller has closed: else the next file that is opened gets its number and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # workers have it, too
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show does not end a command
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _explain(error: Exception) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, HistodsError):
        return str(error)
    if isinstance(error, typer.exceptions.TyperException):
        said = error.format_message().rstrip(".").replace("Value error, ", "")  # Typer's word for a wrong choice
        return f"{said}; see '{_called()} --help'."
    if isinstance(error, OSError):
        places = " to ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        found = f"{error.strerror or error}{': ' if places else ''}{places}"
        again = _ADVICE.get(error.errno or 0, "fix that")
        return f"{found}; {again} and run the same command again to continue."
    if isinstance(error, MemoryError):
        return "There is not enough memory; close other programs, or take fewer --workers."
    if isinstance(error, ModuleNotFoundError) and error.name in _TRAINER:
        return f"{error.name} is not installed, which this command needs; run \"pip install 'histods[train]'\"."
    return f"Internal error, {type(error).__name__}: {error}; run again with --debug and report it."


def _called() -> str:
    """The command whose help explains a wrong call; errors of options do not all know theirs."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    return f"histods {name}" if any(name in commands for commands in PANELS.values()) else "histods"


def _say(text: str, status: int) -> int:
    """Write one line to stderr."""
    print("histods:", escaped(" ".join(text.split())), file=sys.stderr)
    return status


COMMANDS = {
    "audit": audit,
    "status": status,
    "show": show,
    "remap": remap,
    "plot": plot,
    "report": report,
    "split": split,
    "shard": shard,
    "encode": encode,
    "train": train,
    "sample": sample,
    "tune": tune,
    "evaluate": evaluate,
    "fix": fix,
    "tile": tile,
    "import-data": import_data,
    "export-data": export_data,
    "describe": describe,
    "import": import_,
    "export": export,
    "demo": demo,
}
for name, command in COMMANDS.items():
    # A command's function is called like its module: `import` itself is a word of Python.
    run = getattr(command, command.__name__.rpartition(".")[2])
    register(app, name, run, command.EXAMPLE)
