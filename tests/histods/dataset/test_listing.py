"""The files of a dataset as samples and as files to measure: each once, with the reason where one is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods.dataset.listing import Dataset, LayoutOptions, list_files, pair_files, unconditional_folders
from histods.errors import HistodsError

if TYPE_CHECKING:
    from pathlib import Path


def options(**chosen: Any) -> LayoutOptions:
    plain: dict[str, Any] = {"kind": None, "mask_suffix": "_mask", "images_dir": "images", "masks_dir": "masks"}
    plain |= {"image_pattern": None, "mask_pattern": None, "pairs": None, "unconditional": ()}
    return LayoutOptions(**(plain | chosen))


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def dataset(root: Path, **chosen: Any) -> Dataset:
    return pair_files(root, options(**chosen), list_files(root, options(**chosen)))


def rows(found: Dataset, *columns: str) -> list[tuple[Any, ...]]:
    return found.samples.select(columns).rows()


def test_every_file_of_a_sample_is_measured_once_with_its_state(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a_mask.png", "日本/b.jpg", "notes.txt", ".hidden")
    found = dataset(tmp_path)
    assert rows(found, "key", "mask_path", "group") == [("a", "a_mask.png", None), ("日本/b", None, None)]
    assert {row["path"]: row for row in found.files.iter_rows(named=True)} == {
        path: {
            "path": path,
            "is_mask": path == "a_mask.png",
            "bytes": len(path.encode()),
            "mtime_ns": (tmp_path / path).stat().st_mtime_ns,
            "problem": None,
            "look": path == "日本/b.jpg",  # which may be a mask that belongs to nothing
        }
        for path in ("a.jpg", "a_mask.png", "日本/b.jpg")
    }
    assert (found.other, found.hidden, found.layout.kind) == ({".txt": 1}, 1, "suffix")


def test_an_empty_folder_has_no_samples(tmp_path: Path) -> None:
    found = dataset(tmp_path)
    assert (len(found.samples), len(found.files), found.suggestions) == (0, 0, ())


def test_the_fingerprint_changes_with_names_sizes_and_times_alone(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return list_files(tmp_path, options()).fingerprint(tmp_path)

    fill(tmp_path, "b.jpg", "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(5, 5))
    first = fingerprint()
    assert fingerprint() == first
    os.utime(tmp_path / "a.jpg", ns=(5, 6))
    second = fingerprint()
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    third = fingerprint()
    (tmp_path / "out.jpg").symlink_to("/etc/hostname")
    assert len({first, second, third, fingerprint()}) == 4
    (tmp_path / "out.jpg").unlink()
    (tmp_path / "c.jpg").rename(tmp_path / "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(5, 5))
    assert fingerprint() == first


def test_the_fingerprint_is_the_same_from_measured_states(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a_mask.png", "notes.txt")
    plain = list_files(tmp_path, options())
    bare = list_files(tmp_path, options(), states=False)
    measured = pl.DataFrame(
        {"path": plain.listing.paths, "bytes": plain.listing.sizes, "mtime_ns": plain.listing.mtimes}
    ).filter(pl.col("path") != "notes.txt")
    assert bare.fingerprint(tmp_path, measured) == plain.fingerprint(tmp_path)
    assert bare.fingerprint(tmp_path, measured.with_columns(bytes=pl.col("bytes") + 1)) != plain.fingerprint(
        tmp_path
    )


def test_folders_without_masks_may_lie_inside_or_beside_the_dataset(tmp_path: Path) -> None:
    root, beside = tmp_path / "data", tmp_path / "more"
    fill(root, "a.jpg", "a_mask.png", "free/b.jpg", "free/b_mask.png")
    fill(beside, "c.jpg")
    found = dataset(root, unconditional=("free", beside, beside))
    assert rows(found, "key", "mask_path", "by_design") == [
        ("../more/c", None, True),
        ("a", "a_mask.png", False),
        ("free/b", None, True),
        ("free/b_mask", None, True),
    ]
    assert sorted(found.files["path"]) == ["../more/c.jpg", "a.jpg", "a_mask.png", "free/b.jpg", "free/b_mask.png"]
    assert list_files(root, options(unconditional=(beside,))).beside == ["../more"]
    assert unconditional_folders(["free", str(beside)], root) == [root / "free", beside]
    with pytest.raises(HistodsError, match=r"--unconditional gone does not exist; give a path that exists"):
        unconditional_folders(["gone"], root)


def test_images_alone_are_meant_if_the_user_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "c_mask.png")
    assert rows(dataset(tmp_path), "by_design") == [(False,)] * 3
    found = dataset(tmp_path, allow_unpaired=True)
    assert rows(found, "key", "by_design") == [("a", False), ("b", True), ("c_mask", False)]


def test_rows_of_a_file_of_pairs_say_why_a_file_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "m/1.png", ".secret/b.jpg", "own/samples.json", "own/contact_sheet.png", "loose.png")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "image,mask,group\na.jpg,m/1.png,s1\n.secret/b.jpg,,s2\ngone.jpg,,\nown/contact_sheet.png,,\n"
    )
    found = dataset(tmp_path, pairs=pairs)
    assert found.layout.kind == "csv"
    assert dict(found.samples.select("image_path", "group").iter_rows())["a.jpg"] == "s1"
    problems = dict(found.files.select("path", "problem").iter_rows())
    assert problems["a.jpg"] is None
    assert "a leading dot" in problems[".secret/b.jpg"]
    assert problems["gone.jpg"] == "there is no such file, although the pairs file names it"
    assert problems["own/contact_sheet.png"].startswith("in own histods wrote it")
    assert found.samples.filter("outside")["image_path"].to_list() == ["loose.png"]
    assert found.other["own/ (written by histods)"] == 1


def test_links_out_of_the_dataset_are_rows_that_are_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fill(tmp_path, "x.png")
    fill(root, "a.jpg", "b.jpg", "b_mask.png")
    for name in ("a_mask.png", "notes.txt"):
        (root / name).symlink_to(tmp_path / "x.png")
    found = dataset(root)
    assert rows(found, "key", "image_outside", "mask_outside") == [("a", False, True), ("b", False, False)]
    assert "a_mask.png" not in found.files["path"]
    assert found.outside == {"notes.txt": str(tmp_path / "x.png")}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"kind": "mirror"}, "There is no layout 'mirror'; choose suffix, folders, pattern or csv."),
        ({"kind": "csv"}, "--pairs FILE and --layout csv go together, but there is no --pairs"),
        ({"kind": "suffix", "pairs": "p.csv"}, "but there is --pairs with --layout suffix"),
        ({"pairs": "p.csv", "mask_pattern": "{key}_m"}, "do not go together with --pairs; omit one"),
        ({"kind": "folders", "image_pattern": "{key}"}, "do not go together with --layout folders; omit one"),
        ({"mask_suffix": ""}, "--mask-suffix '' is not what"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, chosen: dict[str, Any], message: str
) -> None:
    fill(tmp_path, "a.jpg")
    with pytest.raises(HistodsError, match=message):
        dataset(tmp_path, **chosen)


def test_pictures_are_looked_at_where_names_tell_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        for folder in ("A", "B"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"B/{number}.png")
        Image.fromarray(np.eye(32, dtype=np.uint8) * number).save(tmp_path / f"A/{number}.png")
    assert rows(dataset(tmp_path), "image_path", "mask_path") == [
        (f"B/{number}.png", f"A/{number}.png") for number in range(4)
    ]


def test_a_poor_layout_is_kept_with_the_options_that_pair_more(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{kind}/{number}.png" for kind in ("imgs", "labels") for number in range(5)))
    found = dataset(tmp_path, kind="suffix")
    assert found.layout.kind == "suffix"
    assert [(one.pairs, one.of) for one in found.suggestions] == [(5, 5)]
