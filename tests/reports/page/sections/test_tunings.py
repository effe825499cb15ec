"""What the page says of tunings: what was found against which setting, and whether sampling uses it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from histods.io.workspace import Workspace
from reports.page.pictures import Pictures
from reports.page.sections.runs import SECTION as RUNS
from reports.page.source import read_source
from reports.tuning_chart import draw_tuning
from tests.reports.page.workspaces import write_run
from tests.tunings import make_trial, make_tuning

if TYPE_CHECKING:
    from pathlib import Path

    from reports.page.section import Content

FOUND: dict[str, Any] = {
    "sampler": "dpm",
    "levels": "time",
    "steps": 25,
    "guidance": 1,
    "guidance_interval": [0.0, 1.0],
    "ema_length": None,
}
UNTUNED = "dpm, 25 steps, guidance 3"


def _run(folder: Path, setting: dict[str, Any] | None = None) -> Workspace:
    write_run(folder / "runs" / "x", 0.001)
    if setting is not None:
        (folder / "runs" / "x" / "sampling.json").write_text(json.dumps(setting))
    return Workspace(folder)


def _content(space: Workspace) -> Content:
    source = read_source(space)
    return RUNS.build(source, Pictures(source))


def _lines(space: Workspace) -> list[tuple[bool | None, str]]:
    (one,) = _content(space).values["tunings"]
    lines: list[tuple[bool | None, str]] = one["lines"]
    return lines


def test_what_was_found_is_said_against_which_setting_and_with_what_evidence(tmp_path: Path) -> None:
    space = _run(tmp_path, FOUND | {"tuning": "t"})
    tuning = make_tuning(warnings=("Few slides",))
    tuning.write(space.tunings / "t")
    draw_tuning(tuning, space.tunings / "t")
    (one,) = _content(space).values["tunings"]
    assert one["lines"] == [
        (
            True,
            f"Images are sampled with dpm, 25 steps, no guidance: better than the untuned setting, {UNTUNED}, "
            "in 100.0 % of the bootstrap draws",
        ),
        (False, "Few slides"),
    ]
    assert {"compared on": "80 masks of 5 slides", "split": "val"}.items() <= dict(one["facts"]).items()
    assert one["trials"] == [  # those of the final comparison
        (UNTUNED, "untuned", "0.9", "0.800"),
        ("dpm, 25 steps, no guidance", "best", "0.2", "0.800"),
    ]
    assert one["picture"]["width"] > 1000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"changed": False, "better": 0.8},
            f"Nothing beats the untuned setting, {UNTUNED}, by more than chance: dpm, 25 steps, no guidance does "
            "in 80.0 % of the bootstrap draws",
        ),
        (
            {"changed": False, "better": 0.99, "slides": 2},
            f"dpm, 25 steps, no guidance is better than the untuned setting, {UNTUNED}, in draws of images; "
            "but 2 slides do not show that for others",
        ),
        (
            {"changed": False, "better": None, "best": 0},
            f"None of 2 other ways of sampling beats the untuned setting, {UNTUNED}",
        ),
    ],
)
def test_why_the_untuned_setting_stays_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    space = _run(tmp_path)
    make_tuning(**changes).write(space.tunings / "t")
    assert _lines(space) == [(None, said)]


def test_a_setting_that_is_gone_is_said(tmp_path: Path) -> None:
    space = _run(tmp_path)
    make_tuning().write(space.tunings / "t")
    ((sound, said),) = _lines(space)
    assert not sound
    assert said.endswith("; but sampling.json is gone")


@pytest.mark.parametrize("changes", [{"steps": 7}, {"guidance_interval": [0.1, 0.5]}])
def test_a_setting_that_was_edited_is_said(tmp_path: Path, changes: dict[str, Any]) -> None:
    space = _run(tmp_path, FOUND | {"tuning": "t"} | changes)
    make_tuning().write(space.tunings / "t")
    assert _lines(space)[1:] == [(False, "sampling.json of the run is not what this tuning found")]


def test_the_tuning_of_the_setting_counts_and_without_one_the_last(tmp_path: Path) -> None:
    space = _run(tmp_path, FOUND | {"tuning": "a"})
    for when, (name, run) in enumerate((("a", "x"), ("b", "x"), ("c", "other"))):
        trials = (make_trial(when + 2, 0.9, final=True), make_trial(1, 0.2, final=True))
        path = make_tuning(trials=trials, changed=name == "a", run=run).write(space.tunings / name)
        os.utime(path, (when, when))
    assert "guidance 2" in _lines(space)[0][1]
    (space.runs / "x" / "sampling.json").unlink()
    assert "guidance 3" in _lines(space)[0][1]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tunings/t/tuning.json", "{}", "is not a tuning of this version"),
        ("runs/x/sampling.json", "[]", "holds a list instead of a JSON object"),
        ("runs/x/sampling.json", '{"tuning": "gone"}', "is of a tuning that is not in"),
        ("tunings/t/tuning.png", "x", "cannot be shown"),
    ],
)
def test_what_is_damaged_is_said_and_the_run_stays(tmp_path: Path, file: str, content: str, said: str) -> None:
    space = _run(tmp_path, FOUND | {"tuning": "t"})
    make_tuning().write(space.tunings / "t")
    (tmp_path / file).write_text(content)
    found = _content(space)
    assert any(said in line for line in found.problems)
    assert [run["name"] for run in found.values["runs"]] == ["x"]


@pytest.mark.parametrize("changes", [{"best": 7}, {"trials": [], "best": 0}])
def test_a_tuning_without_a_best_way_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    space = _run(tmp_path)
    path = make_tuning().write(space.tunings / "t")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    found = _content(space)
    assert found.values["tunings"] == []
    assert found.problems == (f"{path} does not hold what was found to be best; tune again.",)
