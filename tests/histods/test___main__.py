"""`python -m histods` is the command line, and Ctrl-C ends it quietly while its modules are imported."""

from __future__ import annotations

import runpy
import signal
import sys

import pytest

from histods.cli import main as cli
from histods.version import __version__


def test_the_module_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["histods", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("histods", run_name="__main__")
    assert ended.value.code in (None, 0)
    assert capsys.readouterr().out == f"histods {__version__}\n"


def test_while_modules_are_imported_ctrl_c_ends_the_process_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from histods.__main__ import main

    seen: list[object] = []
    monkeypatch.setattr(cli, "main", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    main()
    assert seen == [signal.SIG_DFL]
