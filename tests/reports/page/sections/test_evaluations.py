"""The page's section of evaluations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from histods import audit
from histods.io.workspace import Workspace
from reports.evaluation_charts import draw_evaluation
from reports.page.pictures import Pictures
from reports.page.sections.evaluations import MAX_EVALUATIONS
from reports.page.sections.evaluations import SECTION as EVALUATIONS
from reports.page.source import read_source
from reports.page.write import report
from tests.evaluations import make_evaluation
from tests.reports.page.workspaces import write_pair

if TYPE_CHECKING:
    from pathlib import Path

    from reports.page.section import Content


def _audited(folder: Path) -> Workspace:
    write_pair(folder / "data" / "a.png", 1)
    audit(folder / "data", workspace=folder / "out", workers=1)
    return Workspace(folder / "out")


def _content(space: Workspace) -> Content:
    source = read_source(space)
    return EVALUATIONS.build(source, Pictures(source))


def test_without_an_evaluation_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    missing = _content(space).missing
    assert missing is not None
    assert missing.command == f"histods evaluate{space.option}"


def test_numbers_and_pictures_of_an_evaluation_are_on_the_page_and_names_are_text(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    folder = space.evaluations / "one"
    draw_evaluation(make_evaluation(), folder)
    make_evaluation().write(folder)
    page = report(space.folder).file.read_text(encoding="utf-8")
    start = page.index("Evaluation of generated images")
    for said in ("3.25", "2 to 4.5", "1.125", "400 images are fewer than 1,000.", "-9.50", "both, 10 %", "0.66"):
        assert said in page[start:]
    assert page.count("data:image/webp;base64") >= 2
    assert "<script>.</li>" not in page
    assert "Tumour &lt;b&gt;" in page[start:]


def test_the_newest_evaluations_are_shown_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    for number in range(MAX_EVALUATIONS + 2):
        path = make_evaluation(step=number).write(space.evaluations / f"e{number}")
        os.utime(path, (number, number))
    newest = space.evaluations / f"e{MAX_EVALUATIONS + 1}" / "evaluation.json"
    newest.write_text("{}")
    os.utime(newest, (100, 100))
    content = _content(space)
    names = [one["name"] for one in content.values["evaluations"]]
    assert names == [f"e{number}" for number in range(MAX_EVALUATIONS, 1, -1)]
    assert content.values["left_out"] == 2
    (problem,) = content.problems
    assert "is not an evaluation of this version" in problem


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    make_evaluation().write(space.evaluations / "one")
    (space.evaluations / "one" / "copies.png").write_bytes(b"\x89PNG")
    (one,) = _content(space).values["evaluations"]
    assert one["pictures"] == []
