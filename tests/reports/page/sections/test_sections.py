"""What single sections count, choose and compare."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods import audit, split
from histods.io.samples_elsewhere import note_place
from histods.io.workspace import Workspace
from histods.labels.label_map import LabelMap
from histods.labels.label_map_file import BUNDLED, read_label_map
from reports.page.pictures import Pictures, fitted, shrink_labels
from reports.page.sections.class_comparison import compare
from reports.page.sections.classes import OTHERS
from reports.page.sections.classes import SECTION as CLASSES
from reports.page.sections.findings import pack_columns, with_folders
from reports.page.sections.overview import list_actions, list_unchecked
from reports.page.sections.run_pictures import MAX_SHEETS, evenly
from reports.page.sections.runs import SECTION as RUNS
from reports.page.sections.runs import smooth, thin
from reports.page.sections.split import SECTION as SPLIT
from reports.page.sections.thumbnails import SECTION, choose_worst
from reports.page.source import read_source
from tests.reports.page.workspaces import Made, write_pair, write_run


def test_actions_are_most_harmful_first_and_have_commands(made: Made) -> None:
    actions = list_actions(read_source(Workspace(made.workspace)))
    severities = [action["severity"] for action in actions]
    assert severities == sorted(severities, key=["error", "warning"].index)
    errors = [action["count"] for action in actions if action["severity"] == "error"]
    assert errors == sorted(errors, reverse=True)
    assert all(command.startswith("histods ") for action in actions for command in action["commands"])
    [orphan] = [action for action in actions if action["code"] == "unreadable_mask"]
    assert orphan["commands"][-1] == f"histods fix unreadable_mask --to DIR -w {made.workspace}"


@pytest.mark.parametrize("hashed", [True, False])
def test_what_was_not_asked_for_is_not_called_sound(tmp_path: Path, hashed: bool) -> None:
    write_pair(tmp_path / "data" / "a.png", 1)
    audit(tmp_path / "data", workspace=tmp_path / "out", hash=hashed, workers=1)
    summary = Workspace(tmp_path / "out").read_audit()
    commands = [command for _, command in list_unchecked(summary)]
    assert any(command.endswith(" --hash") for command in commands) is not hashed
    assert any(command.endswith(" --verify decode") for command in commands)


def test_columns_give_the_findings_back() -> None:
    paths = ["a/b/x.jpg", "y.jpg", "a/z.jpg", "a/b/w.jpg"]
    table = with_folders(
        pl.DataFrame({"path": paths, "code": ["one", "two", "one", "two"], "message": ["m", "n", "m", "m"]})
    )
    packed = pack_columns(table, ["two", "one"])
    folders = [packed["folders"][place] for place in packed["folder"]]
    pairs = zip(folders, packed["name"], strict=True)
    assert [name if folder == "." else f"{folder}/{name}" for folder, name in pairs] == paths
    assert packed["code"] == [1, 0, 1, 0]
    assert [packed["messages"][place] for place in packed["message"]] == ["m", "n", "m", "m"]


def test_the_worst_come_first_and_ties_are_settled_by_path() -> None:
    found = pl.DataFrame({"key": list("abcd"), "path": ["d", "c", "b", "a"], "code": ["x"] * 4})
    samples = pl.DataFrame({"key": list("abcd"), "specks": [1, 5, None, 1], "findings": [1, 1, 9, 1]})
    order = choose_worst(found, samples, pl.col("specks").cast(pl.Float64))
    assert order["path"].to_list() == ["c", "a", "d", "b"]


def test_each_code_has_a_gallery_that_says_its_order(made: Made) -> None:
    source = read_source(Workspace(made.workspace))
    galleries = SECTION.build(source, Pictures(source)).data["galleries"]
    assert source.findings is not None
    assert {one["code"] for one in galleries} == set(source.findings["code"])
    assert all(one["order"] and one["cards"] for one in galleries)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
def test_a_smaller_mask_has_no_other_labels(height: int, width: int, side: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, (height, width), dtype=np.uint8)
    small = shrink_labels(labels, fitted(width, height, side))
    assert small.shape == fitted(width, height, side)[::-1]
    assert set(np.unique(small)) <= set(np.unique(labels))


def test_single_pixels_stay_visible() -> None:
    labels = np.zeros((512, 512), np.uint8)
    labels[5::100, 7::100] = 1
    labels[300, 300] = 2
    small = shrink_labels(labels, (192, 192))
    assert (small == 1).sum() >= 25
    assert (small == 2).sum() == 1


def test_the_bundled_maps_disagree_on_label_27() -> None:
    five, ten = (read_label_map(BUNDLED / f"label_map_{number}.yml") for number in (5, 10))
    found = compare(five, ten, {0: 1000, 27: 5, 3: 10})
    assert (found.fine, found.coarse) == (ten.name, five.name)
    assert found.apart == (27,)
    assert "label 27" in found.text


def test_a_coarsening_is_found_in_either_order() -> None:
    fine = LabelMap(name="fine", classes=("a", "b", "c"), table={0: 0, 1: 1, 2: 2})
    coarse = LabelMap(name="coarse", classes=("a", "bc"), table={0: 0, 1: 1, 2: 1})
    for one, other in ((fine, coarse), (coarse, fine)):
        found = compare(one, other, {})
        assert (found.coarse, found.apart) == ("coarse", ())


def test_the_split_is_proved(made: Made) -> None:
    source = read_source(Workspace(made.workspace))
    values = SPLIT.build(source, Pictures(source)).values
    assert [line["sound"] for line in values["proof"]] == [True, True, None, True]
    assert sum(row["samples"] for row in values["sizes"]) == len(source.used if source.used is not None else [])


def test_what_nobody_compared_is_not_proved(tmp_path: Path) -> None:
    for number in range(12):
        write_pair(tmp_path / "data" / f"{number}.jpg", number)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    split(workspace=tmp_path / "out", test=0.25)
    source = read_source(Workspace(tmp_path / "out"))
    proof = SPLIT.build(source, Pictures(source)).values["proof"]
    assert [line["sound"] for line in proof] == [None, None, None, True]
    assert "--group-regex" in proof[0]["text"]
    assert "--hash" in proof[1]["text"]
    assert "--quality" in proof[2]["text"]


def test_the_newest_runs_are_shown_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        run = tmp_path / "runs" / f"run{number}"
        write_run(run, 0.001)
        os.utime(run / "metrics.jsonl", (1000 - number, 1000 - number))
    monkeypatch.setattr("reports.page.sections.runs.MAX_RUNS", 2)
    source = read_source(Workspace(tmp_path))
    content = RUNS.build(source, Pictures(source))
    assert [run["name"] for run in content.values["runs"]] == ["run0", "run1"]
    assert content.values["left_out"] == 2
    assert all(len(run["previews"]) == 3 for run in content.values["runs"])
    monkeypatch.setattr("reports.page.sections.runs.Budget", lambda: SimpleNamespace(left=100))
    assert not [run for run in RUNS.build(source, Pictures(source)).values["runs"] if run["previews"]]


def test_labels_that_charts_leave_out_are_one_part_of_each_group(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / "data" / f"s{number}_a.jpg", number)
        labels = np.arange(64, dtype=np.uint8).reshape(8, 8) + 64 * number
        Image.fromarray(labels.repeat(8, 0).repeat(8, 1)).save(tmp_path / "data" / f"s{number}_a_mask.png")
    audit(tmp_path / "data", workspace=tmp_path / "out", group_regex="^(s.)", workers=1)
    source = read_source(Workspace(tmp_path / "out"))
    [system] = CLASSES.build(source, Pictures(source)).values["systems"]
    parts = [part for row in system["groups"]["rows"] for part in row["parts"]]
    assert OTHERS in {index for index, _ in parts} <= {OTHERS, *system["drawn"]}
    assert sum(pixels for _, pixels in parts) == 64 * 64 * len(source.used if source.used is not None else [])
    assert {one["index"] for one in system["gallery"]} <= set(system["drawn"])
    assert "with most pixels" in system["note"]


def test_curves_are_thinned_and_smoothed() -> None:
    curve = [(step, float(step % 7)) for step in range(1, 5001)]
    few = thin(curve, 100)
    assert len(few) == 100
    assert few[-1][0] == 5000
    assert math.fsum(value for _, value in few) / 100 == pytest.approx(3, abs=0.1)
    flat = smooth([(step, 2.0) for step in range(300)])
    assert {round(value, 9) for _, value in flat} == {2.0}
    assert (smooth([]), thin([])) == ([], [])
    assert evenly(list(range(100)), 3) == [0, 50, 99]


def _write_sheet(folder: Path, when: int = 0, **recipe: object) -> Path:
    sheet = folder / "overview" / "contact_sheet.png"
    sheet.parent.mkdir(parents=True)
    Image.new("RGB", (60, 40), (200, 220, 240)).save(sheet)
    (sheet.parent / "samples.json").write_text(json.dumps({"recipe": recipe}))
    os.utime(sheet, (when, when))
    return folder


def test_contact_sheets_elsewhere_are_shown_while_they_are_there(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    write_run(space.runs / "x", 0.001)
    for folder in (_write_sheet(tmp_path / "elsewhere", run="x", step=60), tmp_path / "gone"):
        note_place(space, space.runs / "x", folder)
    source = read_source(space)
    found = RUNS.build(source, Pictures(source))
    (sheet,) = found.values["sheets"]
    assert sheet["folder"] == str(tmp_path / "elsewhere")
    assert sheet["facts"] == [("run", "x"), ("step", "60")]
    assert found.problems == ()


def test_the_newest_contact_sheets_are_shown_once_each(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    write_run(space.runs / "x", 0.001)
    for when in range(MAX_SHEETS):
        _write_sheet(space.folder / "samples" / f"s{when}", when + 1)
    oldest, newest = (_write_sheet(tmp_path / f"t{when}", when) for when in (0, 99))
    (space.folder / "samples" / "link").symlink_to(newest)
    for folder in (oldest, newest):
        note_place(space, space.runs / "x", folder)
    source = read_source(space)
    values = RUNS.build(source, Pictures(source)).values
    shown = [Path(sheet["folder"]).name for sheet in values["sheets"]]
    assert shown == ["link", *(f"s{when}" for when in range(MAX_SHEETS - 1, 0, -1))]
    assert values["more_sheets"] == 2


def test_a_damaged_note_of_samples_is_said(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    write_run(space.runs / "x", 0.001)
    space.samples_elsewhere.mkdir()
    for name, text in (("a", "{"), ("b", '{"folder": 3}'), ("c", '{"folder": "a\\u0000b"}')):
        (space.samples_elsewhere / f"{name}.json").write_text(text)
    source = read_source(space)
    problems = RUNS.build(source, Pictures(source)).problems
    assert ["JSON" in problems[0], *("names no folder of samples" in line for line in problems[1:])] == [True] * 3
