"""`histods fix`: nothing moves without --apply, and every line that it prints can be typed."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.histods.cli.commands.conftest import Place


def typed(text: str, begin: str) -> list[str]:
    """The last printed command that begins so, as a shell reads it."""
    joined = text.replace("\\\n", " ")
    found = [line for line in joined.splitlines() if line.strip().startswith(begin)]
    return shlex.split(found[-1])[1:]


def files(place: Place) -> set[str]:
    return {path.relative_to(place.data).as_posix() for path in place.data.rglob("*.png")}


def test_the_printed_commands_move_the_files_and_bring_them_back(copied: Place) -> None:
    before = files(copied)
    listed = copied.run("fix", "unreadable_mask", "--to", copied.folder / "my quarantine", "--dry-run")
    assert "Nothing has been moved yet." in listed.stdout
    assert files(copied) == before
    moved = copied.run(*typed(listed.stdout, "histods fix"))
    assert moved.returncode == 0, moved.stderr
    assert before - files(copied) == {"slide 1/p1.png", "slide 1/p1_mask.png"}
    back = copied.run(*typed(moved.stdout, "histods fix --undo"))
    assert "2 files moved back to" in back.stdout
    assert files(copied) == before


def test_json_says_what_would_move(copied: Place) -> None:
    document = json.loads(copied.run("fix", "missing_mask", "--to", copied.folder / "q", "--json").stdout)
    assert document["state"] == "planned"
    assert not (copied.folder / "q").exists()


def test_contradicting_options_and_findings_without_files_are_one_line(copied: Place) -> None:
    wrong = copied.run("fix", "missing_mask", "--to", copied.folder / "q", "--dry-run", "--apply")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "histods: --dry-run and --apply contradict each other; leave one of them out.\n"
    none = copied.run("fix", "turned", "--to", copied.folder / "q", "--apply")
    assert "turned: nothing to move." in none.stdout
