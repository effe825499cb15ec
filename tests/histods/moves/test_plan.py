"""The files that a fix moves: pairs stay together, one of equal images stays, and so does what others use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from histods.moves.execute import Move
from histods.moves.plan import EXCLUDED, KEPT, LINKED, OUTSIDE, SHARED, UNOPENED, Choice, Links, choose_files

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = {
    "key": pl.String,
    "role": pl.String,
    "image_path": pl.String,
    "image_bytes": pl.Int64,
    "image_mtime_ns": pl.Int64,
    "mask_path": pl.String,
    "mask_bytes": pl.Int64,
    "mask_mtime_ns": pl.Int64,
    "image_digest": pl.String,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "data ä"
    folder.mkdir()
    return folder


def pair(key: str, **row: Any) -> dict[str, Any]:
    """A row of the manifest."""
    files = {"image_path": f"{key}.png", "image_bytes": 3, "image_mtime_ns": 5, "image_digest": key}
    masks = {"mask_path": f"{key}_mask.png", "mask_bytes": 4, "mask_mtime_ns": 6}
    return {"key": key, "role": "conditional", **files, **masks, **row}


def choose(root: Path, code: str, rows: list[dict[str, Any]], found: list[str]) -> Choice:
    """The choice where these paths have the finding."""
    keys = {path: row["key"] for row in rows for path in (row["image_path"], row["mask_path"])}
    named = {"key": [keys.get(path, path) for path in found], "path": found}
    findings = pl.DataFrame(
        named | {"code": [code] * len(found)}, schema=dict.fromkeys([*named, "code"], pl.String)
    )
    manifest = pl.DataFrame(rows, schema=SCHEMA)
    return choose_files(code, manifest, findings, root=str(root), to="/q", masks_to="/q-masks")


def moved(root: Path, choice: Choice) -> set[str]:
    return {move.source.removeprefix(f"{root}/") for move in choice.moves}


def reasons(choice: Choice) -> dict[str, tuple[int, str]]:
    return {stay.reason: (stay.samples, stay.first) for stay in choice.stays}


def test_both_files_of_a_pair_move_as_they_were_audited(root: Path) -> None:
    rows = [pair("a"), pair("日/b"), pair("c")]
    choice = choose(root, "wide_mask", rows, ["日/b_mask.png"])
    assert choice == Choice(
        1,
        [
            Move(f"{root}/日/b.png", "/q/日/b.png", 3, 5),
            Move(f"{root}/日/b_mask.png", "/q-masks/日/b_mask.png", 4, 6),
        ],
        (),
    )


def test_without_findings_or_with_those_of_another_code_nothing_moves(root: Path) -> None:
    assert choose(root, "wide_mask", [pair("a")], []) == Choice(0, [], ())
    assert choose(root, "wide_mask", [], []) == Choice(0, [], ())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image_path": "../other/a.png"}, OUTSIDE),
        ({"image_path": "link.png"}, LINKED),
        ({"image_path": "target.png"}, LINKED),
        ({"mask_bytes": 0, "mask_mtime_ns": 0}, UNOPENED),
        ({"role": "excluded"}, EXCLUDED),
    ],
    ids=str,
)
def test_a_pair_that_cannot_move_stays_whole_with_its_reason(root: Path, row: dict[str, Any], reason: str) -> None:
    (root / "target.png").touch()
    (root / "link.png").symlink_to("target.png")
    rows = [pair("a", **row), pair("b")]
    choice = choose(root, "zero_mask", rows, [rows[0]["mask_path"], "b_mask.png"])
    assert moved(root, choice) == {"b.png", "b_mask.png"}
    assert reasons(choice) == {reason: (1, rows[0]["image_path"])}


def test_the_best_of_equal_images_stays(root: Path) -> None:
    rows = [
        pair("a", role="excluded", image_digest="x"),
        pair("b", role="unconditional", image_digest="x"),
        pair("c", image_digest="x"),
        pair("d", image_digest="x"),
        pair("e", image_digest="y"),
        pair("f", image_digest="y"),
    ]
    choice = choose(root, "duplicate_image", rows, [row["image_path"] for row in rows])
    assert moved(root, choice) == {f"{key}{end}.png" for key in "abdf" for end in ("", "_mask")}
    assert reasons(choice) == {KEPT: (2, "c.png")}


def test_a_copy_that_cannot_move_is_the_one_that_is_kept(root: Path) -> None:
    rows = [pair("a", image_digest="x"), pair("b", image_digest="x", image_path="../o/b.png")]
    choice = choose(root, "duplicate_image", rows, ["a.png", "../o/b.png"])
    assert moved(root, choice) == {"a.png", "a_mask.png"}
    assert reasons(choice) == {OUTSIDE: (1, "../o/b.png")}


def test_a_mask_that_a_staying_image_uses_stays_and_one_of_moving_images_moves_once(root: Path) -> None:
    rows = [pair(key, mask_path="m.png") for key in "abc"]
    some = choose(root, "turned", rows, ["a.png", "b.png"])
    assert (moved(root, some), some.samples) == ({"a.png", "b.png"}, 2)
    assert reasons(some) == {SHARED: (2, "m.png")}
    every = choose(root, "turned", rows, ["a.png", "b.png", "c.png"])
    assert [move.source for move in every.moves].count(f"{root}/m.png") == 1
    assert (len(every.moves), every.samples, every.stays) == (4, 3, ())


def test_a_finding_of_a_folder_that_is_a_link_is_said_to_stay(root: Path) -> None:
    choice = choose(root, "outside_root", [pair("a")], ["linked"])
    assert (choice.moves, reasons(choice)) == ([], {LINKED: (1, "linked")})


def test_links_and_what_they_lead_to_are_known(tmp_path: Path) -> None:
    root = tmp_path.resolve() / "data"
    (root / "real" / "deep").mkdir(parents=True)
    (root / "other").mkdir()
    for name in ("real/deep/x", "real/y", "other/z", "w"):
        (root / name).touch()
    assert not Links(str(root)).touch(f"{root}/w")
    (root / "other" / "to_y").symlink_to("../real/y")
    (root / "to_deep").symlink_to("real/deep")
    (root / "real" / "deep" / "up").symlink_to("../..")
    (root / "out").symlink_to("/")
    links = Links(str(root))
    touched = {name for name in ("real/deep/x", "real/y", "other/z", "w") if links.touch(f"{root}/{name}")}
    assert touched == {"real/deep/x", "real/y"}
    for name in ("to_deep/x", "other/to_y", "out/etc", "real/deep/up/w"):
        assert links.touch(f"{root}/{name}")
