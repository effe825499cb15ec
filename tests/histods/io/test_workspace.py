"""The workspace: where its files are, how it is found, and that it is apart from the dataset."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.own_files import own_folder
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.io.audit_summary import AuditSummary
from histods.io.workspace import Workspace, read_json


def written(folder: Path, root: object) -> Workspace:
    """A workspace as an audit of `root` leaves it."""
    space = Workspace(folder)
    folder.mkdir(parents=True)
    space.manifest.write_bytes(b"manifest")
    summary = AuditSummary(
        root=str(root), command=f"histods audit {root}", manifest_digest=file_digest(space.manifest)
    )
    write_json(space.audit, summary.to_json() | {"root": root if isinstance(root, int) else str(root)})
    return space


def test_every_file_of_a_workspace_in_a_dataset_is_known_as_written_by_histods(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    for path in (space.manifest, space.audit):
        path.touch()
    folder = own_folder(str(tmp_path), "", list(os.scandir(tmp_path)))
    assert folder is not None
    files = [space.manifest, space.findings, space.findings_csv, space.audit, space.measurements, space.journal]
    files += [space.report, space.split, space.remap_table("日本"), space.remap_summary("日本")]
    files += [space.charts / "findings.png", space.fixes / "zero_mask-1.jsonl", space.runs / "a" / "config.yaml"]
    for path in files:
        assert folder.take(path.relative_to(tmp_path).as_posix()), path
    assert len({*files, space.charts, space.shards, space.latents, space.runs, space.fixes}) == len(files) + 5


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8))
def test_the_option_can_be_pasted_into_a_shell(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HISTODS_WORKSPACE", raising=False)
        space = Workspace(Path(name))
        assert shlex.split(space.option) in (["-w", str(Path(name))], [])
        assert (space.option == "") == (Path(name) == Path("histods-out"))
        patch.setenv("HISTODS_WORKSPACE", name)
        assert space.option == ""


def test_class_systems_are_the_summaries_that_were_written(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert space.class_systems() == []
    (tmp_path / "remap").mkdir()
    for name in ("b", "a.v1", "日本"):
        space.remap_summary(name).touch()
        space.remap_table(name).touch()
    assert space.class_systems() == ["a.v1", "b", "日本"]


@pytest.mark.parametrize(
    ("place", "dataset", "found"),
    [
        ("data/out", "data", "is inside the dataset"),
        ("data", "data", "is the dataset"),
        ("link/out", "data", "is inside the dataset"),
        ("out", "out/shards/x", "Commands write into .*out/shards, where the dataset"),
        ("out", "out/mine", None),
        ("data-out", "data", None),
        ("new/../beside", "data", None),
    ],
)
def test_a_workspace_is_apart_from_the_dataset(
    tmp_path: Path, place: str, dataset: str, found: str | None
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    root = tmp_path / dataset
    root.mkdir(parents=True, exist_ok=True)
    space = Workspace(tmp_path / place)
    if found is None:
        space.check_apart(root, "histods audit DATA")
        return
    with pytest.raises(HistodsError, match=found) as refused:
        space.check_apart(root, "histods audit DATA")
    other = Path(shlex.split(str(refused.value).split("'")[-2])[-1])
    Workspace(other).check_apart(root, "histods audit DATA")  # the place that the message names is apart


def test_nothing_is_written_into_the_dataset_or_around_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    space = Workspace(tmp_path / "out")
    for place in (root / "x", root, tmp_path, tmp_path / "link" / "x"):
        with pytest.raises(HistodsError, match="never written to; choose another place for --to"):
            space.check_place(place, "--to", root)
    space.check_place(tmp_path / "database", "--to", root)


def test_an_audit_is_read_with_the_command_that_makes_it_again(tmp_path: Path) -> None:
    space = written(tmp_path / "my out", tmp_path / "data")
    summary = space.read_audit()
    assert shlex.split(summary.command) == ["histods", "audit", f"{tmp_path}/data", "-w", f"{tmp_path}/my out"]
    space.manifest.write_bytes(b"changed")
    with pytest.raises(StaleFileError, match=r"has changed since the audit wrote it; run 'histods audit .* -w "):
        space.read_audit()
    assert space.read_summary() == summary
    space.manifest.unlink()
    with pytest.raises(HistodsError, match="^There is no audit in "):
        space.read_audit()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[1]", "holds a list instead of a JSON object"),
        (b'"a"', "holds a str instead of a JSON object"),
        (b"NaN", "holds a float instead of a JSON object"),
        (b"1" * 5000, "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(HistodsError, match=found) as refused:
        read_json(path)
    assert "\n" not in str(refused.value)
    for other in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(HistodsError, match="cannot be read as JSON"):
            read_json(other)


def test_a_summary_of_something_else_is_refused(tmp_path: Path) -> None:
    space = written(tmp_path / "out", 5)
    with pytest.raises(HistodsError, match="is not the summary of an audit"):
        space.read_summary()
    space.audit.write_text(json.dumps({"root": str(tmp_path), "manifest_digest": "0"}))
    with pytest.raises(HistodsError, match=r"out is inside the dataset .*a workspace must be apart"):
        space.read_summary()
