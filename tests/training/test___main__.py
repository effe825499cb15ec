"""`python -m training` reports in plain lines: of each process what is its own, of all what is common."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError, TerminatedError
from training import __main__ as program

if TYPE_CHECKING:
    from pathlib import Path

TOGETHER = {"WORLD_SIZE": "4", "RANK": "2"}


def run(patch: pytest.MonkeyPatch, *words: object, **environment: str) -> int:
    patch.setattr(sys, "argv", ["training", *map(str, words)])
    for name, value in environment.items():
        patch.setenv(name, value)
    return program.main()


def fail(error: BaseException) -> object:
    def train(**_: object) -> None:
        raise error

    return train


def test_a_wrong_call_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "-w", tmp_path, "--data", tmp_path / "ä", "--device", "cpu") == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert str(tmp_path / "ä") in printed.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HistodsError("a\n  b."), "a b."),
        (
            OSError(28, "No space"),
            "A file could not be read or written: [Errno 28] No space; fix that and run the",
        ),
        (ValueError("x" * 999), f"Internal error, ValueError: {'x' * 300}; run again with --debug and report it."),
    ],
    ids=["ours", "disk", "bug"],
)
def test_every_error_is_one_line_that_names_the_process_where_there_are_several(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "train", fail(error))
    assert run(monkeypatch) == 2
    alone = capsys.readouterr().err
    assert alone.startswith(said)
    assert alone.count("\n") == 1
    assert run(monkeypatch, **TOGETHER) == 2
    assert capsys.readouterr().err == f"process 2 on {platform.node()}: {alone}"
    with pytest.raises(type(error)):
        run(monkeypatch, "--debug")


@pytest.mark.parametrize(
    ("error", "word", "status"),
    [(KeyboardInterrupt(), "interrupted", 130), (TerminatedError(), "terminated", 143)],
)
def test_an_end_that_was_asked_for_is_said_once_by_the_first_process(
    error: BaseException,
    word: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "train", fail(error))
    assert run(monkeypatch) == status
    assert capsys.readouterr().err == f"{word}; run the same command again to continue\n"
    assert run(monkeypatch, **TOGETHER) == status
    assert capsys.readouterr().err == ""


def test_options_are_those_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option goes to the parameter of its name, so that none is lost on the way."""
    import inspect

    from training.verbs.train import train

    given: dict[str, object] = {}

    def note(**options: object) -> None:
        given.update(options)
        raise HistodsError("enough.")

    monkeypatch.setattr(program, "train", note)
    assert run(monkeypatch, "--set", "run.steps=1", "--set", "run.seed=2", "--no-prepare", "--map", "m") == 2
    assert given.keys() <= inspect.signature(train).parameters.keys()
    assert (given["settings"], given["prepare"], given["map"]) == (["run.steps=1", "run.seed=2"], False, "m")
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    same = (
        "config",
        "name",
        "data",
        "resume",
        "init",
        "init_weights",
        "remake_ends",
        "device",
        "dry_run",
        "debug",
    )
    assert {name: given[name] for name in same} == {name: defaults[name] for name in same}
