"""A finding that no file has: it is said where nobody looked for it, with the command that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from histods import audit, show
from histods.checks import CHECKS
from histods.checks.silence import say_unjudged
from histods.io.workspace import Workspace
from tests.commands import histods
from tests.reports.page.workspaces import write_pair

ALWAYS = {check.code for check in CHECKS if not check.quality} - {
    "duplicate_image",
    "unknown_label",
    "off_palette",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sound pairs."""
    folder = tmp_path_factory.mktemp("silence") / "data"
    for number in range(6):
        write_pair(folder / f"{number}.png", number)
    return folder


def test_a_plain_audit_looks_for_all_but_what_is_asked_for(root: Path, tmp_path: Path) -> None:
    audit(root, workspace=tmp_path, workers=1)
    summary = Workspace(tmp_path).read_audit()
    silent = {check.code for check in CHECKS if not say_unjudged(check.code, summary)}
    assert silent == ALWAYS
    (sentence,) = say_unjudged("duplicate_image", summary)
    assert sentence.endswith(f"histods audit {root} -w {tmp_path} --hash")
    shown = " ".join(histods("show", "blur", "-w", tmp_path).stdout.replace("\\\n", " ").split())
    assert "No file has the finding blur." in shown
    assert "did not look for it" in shown


def test_what_could_not_be_judged_is_said_and_what_was_is_not(root: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.yml"
    labels.write_text("{0: none, 1: a, 2: b, 3: c, 4: d}")
    audit(root, workspace=tmp_path / "out", quality=True, hash=True, labels=labels, workers=1)
    assert show("blur", workspace=tmp_path / "out").unjudged == ()
    assert show("duplicate_image", workspace=tmp_path / "out").unjudged == ()
    assert show("unknown_label", workspace=tmp_path / "out").unjudged == ()
    (note,) = show("misplaced_mask", workspace=tmp_path / "out").unjudged
    assert "needs 50" in note
