"""The help has every command in a group, with one sentence that fits a line, and names no type of a flag."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from histods.cli.help import OTHERS, PANELS, register
from histods.cli.main import COMMANDS

SENTENCES = {name: text for commands in PANELS.values() for name, text in commands.items()}


def test_every_command_is_in_one_group_and_no_group_has_another() -> None:
    assert sorted(name for commands in PANELS.values() for name in commands) == sorted(COMMANDS)


def test_every_sentence_is_one_and_fits_a_line_of_80_columns() -> None:
    for text in SENTENCES.values():
        assert text.endswith(".")
        assert text[0].isupper()
        assert len(text) + 2 * len("import") <= 80


def test_a_command_of_no_group_begins_with_the_others_and_a_flag_has_no_type() -> None:
    app = typer.Typer(rich_markup_mode=None)

    def run(flag: bool = typer.Option(False, "--flag"), number: int = 3) -> None:
        """Do something new."""

    register(app, "new", run, "histods new --flag")
    register(app, "audit", run, "histods audit /d")
    command = typer.main.get_command(app).commands["new"]  # type: ignore[attr-defined]
    assert command.rich_help_panel == OTHERS
    metavars = {parameter.name: parameter.metavar for parameter in command.params}
    assert metavars["flag"] == ""
    assert metavars["number"] is None
    shown = CliRunner().invoke(app, ["audit", "--help"]).stdout
    assert "Example: histods audit /d" in shown
    assert "Exit status:" in shown
    assert "Exit status:" not in CliRunner().invoke(app, ["new", "--help"]).stdout
