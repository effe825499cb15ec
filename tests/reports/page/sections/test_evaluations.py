"""The page's section of evaluations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from histods import audit
from histods.io.mask_evaluation_file import MaskDistance
from histods.io.workspace import Workspace
from reports.evaluation_charts import draw_evaluation
from reports.page.pictures import Pictures
from reports.page.sections.evaluations import MAX_EVALUATIONS
from reports.page.sections.evaluations import SECTION as EVALUATIONS
from reports.page.source import read_source
from reports.page.write import report
from tests.evaluations import make_evaluation, make_mask_evaluation
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
    start = page.index('id="title-evaluations"')
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


def test_masks_stand_beside_images_with_each_distance_beside_its_floor(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    make_evaluation().write(space.evaluations / "images")
    make_mask_evaluation().write(space.evaluations / "of-masks")
    page = report(space.folder).file.read_text(encoding="utf-8")
    start = page.index("Masks: masks, step 900")
    assert start > page.index("default, step 12,000")
    for row in (
        ("mean proportions of classes", "0.102", "0.051"),
        ("strips between two other classes, per border", "0.0513", "0.0021"),
        ("Tumour &lt;b&gt;", "0.0224", "0.0111", "1.5", "0.35"),
        ("Nerve", "0.03", "0", "", ""),
    ):
        name, *numbers = row
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        assert f'<th scope="row">{name}</th>{cells}</tr>' in page[start:]
    for said in (
        "120 of 6 slides (the split test)",
        "The split test has few masks &lt;i&gt;.",
        "No sizes to compare: only real or only generated masks have Nerve.",
        "Neither real nor generated masks have Fat.",
    ):
        assert said in page[start:]
    assert "<dd>0.0725</dd>" in page[start:]


def test_masks_of_one_slide_have_no_floor_and_it_is_said_why(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    alone = MaskDistance(distance=0.1, floor=None)
    made = make_mask_evaluation(
        groups=1, mean_proportions=alone, adjacency=MaskDistance(distance=None, floor=None)
    )
    made.write(space.evaluations / "one")
    (one,) = _content(space).values["masks"]
    assert one["distances"][:2] == [("mean proportions of classes", "0.1", ""), ("adjacency of classes", "", "")]
    assert one["remarks"][0].startswith("The real masks are of one slide")
    assert one["remarks"][1].startswith("Adjacency and strips: ")


def test_a_damaged_evaluation_of_masks_is_said_and_the_newest_of_both_kinds_are_shown(tmp_path: Path) -> None:
    space = _audited(tmp_path)
    for number in range(MAX_EVALUATIONS):
        path = make_evaluation(step=number).write(space.evaluations / f"e{number}")
        os.utime(path, (number, number))
    for number, run in ((98, "masks"), (99, "broken")):
        path = make_mask_evaluation(run=run).write(space.evaluations / run)
        os.utime(path, (number, number))
    (space.evaluations / "broken" / "masks.json").write_text('{"run": "broken"}')
    content = _content(space)
    assert [one["name"] for one in content.values["masks"]] == ["masks"]
    assert (len(content.values["evaluations"]), content.values["left_out"]) == (MAX_EVALUATIONS - 2, 2)
    (problem,) = content.problems
    assert "is not an evaluation of masks of this version (no field real); evaluate again." in problem
