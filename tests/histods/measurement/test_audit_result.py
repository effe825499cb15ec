"""A result is read back from its files as it was written, and not at all where one of them is another."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError
from histods.io.workspace import Workspace
from histods.measurement.audit_result import AuditResult, options_left_out, read_unchanged, write_result
from histods.records import Finding
from tests.histods.checks.mask_files import photograph
from tests.in_process import audit_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """Of pairs in grey and in colours, a zero mask, damage, and names beyond ASCII."""
    folder = tmp_path_factory.mktemp("result")
    root = folder / "data ä"
    root.mkdir()
    for number, mask in enumerate((np.tri(32), np.zeros((32, 32)), np.tri(32) * 3, np.ones((32, 32)))):
        Image.fromarray(photograph(number)[:32, :32]).save(root / f"日本_{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / f"日本_{number}_mask.png")
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[8:20] = (255, 0, 0)
    Image.fromarray(photograph(7)[:32, :32]).save(root / "red.png")
    Image.fromarray(colours).save(root / "red_mask.png")
    (root / "cut.png").write_bytes(b"\x89PNG")
    (root / "notes.txt").write_text("x")
    return audit_here(root, workspace=folder / "out", group_regex="^(日本)", hash=True)


@pytest.fixture
def written(result: AuditResult, tmp_path: Path) -> AuditResult:
    """The result in a workspace that a test may change."""
    other = replace(result, workspace=tmp_path / "out")
    write_result(other, result.findings_frame())
    return other


def print_of(result: AuditResult) -> str:
    assert result.fingerprint is not None
    return result.fingerprint


def test_every_field_comes_back_but_for_what_that_run_read(written: AuditResult) -> None:
    found = read_unchanged(Workspace(written.workspace), print_of(written))
    assert found is not None
    of_the_run = {"files_read", "files_reused", "seconds", "manifest"}
    for name in {field.name for field in fields(AuditResult)} - of_the_run:
        assert getattr(found, name) == getattr(written, name), name
    assert found.manifest.table.equals(written.manifest.table)
    assert (found.files_read, found.files_reused) == (0, written.files_read + written.files_reused)
    assert [*found.iter_findings()] == [*written.iter_findings()]


def test_findings_and_their_counts_agree(written: AuditResult) -> None:
    listed = [*written.iter_findings()]
    assert listed == sorted(listed, key=lambda one: (one.key, one.path, one.code))
    assert written.findings == {code: sum(one.code == code for one in listed) for code in written.findings}
    assert sum(written.findings.values()) == sum(written.severities.values()) == len(listed) > 0
    first: dict[str, Finding] = {}
    for one in listed:
        first.setdefault(one.code, one)
    assert written.first_findings() == first
    assert written.suggestion is None


def forget(name: str) -> Callable[[Workspace], object]:
    return lambda space: getattr(space, name).unlink()


def edit(**changes: Any) -> Callable[[Workspace], object]:
    def change(space: Workspace) -> None:
        document = json.loads(space.audit.read_text(encoding="utf-8")) | changes
        space.audit.write_text(json.dumps(document), encoding="utf-8")

    return change


DAMAGE: dict[str, Callable[[Workspace], object]] = {
    **{f"no {name}": forget(name) for name in ("audit", "manifest", "findings", "findings_csv")},
    "other findings": lambda space: space.findings.write_bytes(space.findings.read_bytes() + b"x"),
    "other manifest": lambda space: space.manifest.write_bytes(b""),
    "no JSON": lambda space: space.audit.write_text("{"),
    "a list": lambda space: space.audit.write_text("[]"),
    "another version": edit(schema_version=0),
    "another fingerprint": edit(fingerprint="0"),
    "a layout of nonsense": edit(layout={"kind": 3}),
    "no timing": edit(timing={}),
    "suggestions of nonsense": edit(suggestions=[{}]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_or_of_other_files_is_as_good_as_none(written: AuditResult, damage: str) -> None:
    space = Workspace(written.workspace)
    DAMAGE[damage](space)
    assert read_unchanged(space, print_of(written)) is None


@pytest.mark.parametrize(
    ("before", "now", "left_out"),
    [
        ("histods audit /d", "histods audit /d", []),
        ("histods audit /d --hash --pairs 'a b.csv'", "histods audit /d --pairs other.csv", ["--hash"]),
        ("histods audit /d --x 1 --x 2 --hash", "histods audit /d", ["--x", "--hash"]),
        ("histods audit '/d --hash'", "histods audit /d", []),
    ],
)
def test_options_that_are_left_out_are_named_once(before: str, now: str, left_out: list[str]) -> None:
    assert options_left_out(before, now) == left_out


def test_what_is_no_command_is_said() -> None:
    with pytest.raises(HistodsError, match="^Not a shell command: histods 'audit$"):
        options_left_out("histods 'audit", "histods audit /d")
