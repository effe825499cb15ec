"""tile: nothing lost, nothing invented, every tile led back, and the same bytes after any kill."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

from histods import HistodsError, Manifest, audit, remap, split, tile
from histods.cli.commands.tile import to_document
from histods.cli.console import make_results
from histods.cli.next_step import print_next_after_audit
from histods.engines import engine_for
from histods.engines.engine import Engine
from histods.errors import StaleFileError
from histods.io.atomic import write_bytes
from histods.io.workspace import Workspace
from histods.tiles import cut as worker
from tests.commands import histods
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from histods.measurement.audit_result import AuditResult
    from histods.steps.tile import TileResult

SIZE = 32
OPTIONS = worker.TileOptions(
    root="",
    folder="",
    size=SIZE,
    stride=SIZE,
    edge="shift",
    pad_label=0,
    keep_blank=False,
    audit="histods audit x",
)
MAP = "name: mine\nclasses: [none, some]\nmap: {none: [0], some: ['1-400']}\n"
COLOURS = {0: (255, 255, 255), 1: (200, 0, 0), 2: (0, 0, 200), 7: (0, 120, 0)}


@dataclass
class Set:
    """A dataset of images and masks of several sizes; what tiles must be put together to."""

    root: Path
    workspace: Path
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    masks: dict[str, NDArray[np.integer]] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)

    def audit(self, **more: object) -> None:
        self.options |= more
        audit(self.root, workspace=self.workspace, workers=1, **self.options)  # type: ignore[arg-type]


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


def areas(height: int, width: int, *labels: int) -> NDArray[np.uint16]:
    mask = np.zeros((height, width), np.uint16)
    for number, label in enumerate(labels):
        top = number * height // len(labels)
        mask[top : top + height // (2 * len(labels)), 2 : width - 3] = label
    return mask


def write_tiff(path: Path, image: NDArray[np.uint8]) -> None:
    tifffile.imwrite(path, image, photometric="rgb", compression="zlib")


@pytest.fixture(autouse=True, scope="module")
def work_here() -> Iterator[None]:
    """One worker is this process."""

    def engine(name: str, workers: int | None) -> Engine:
        return Engine(Here()) if workers == 1 else engine_for(name, workers)

    with pytest.MonkeyPatch.context() as patch:
        for step in ("audit", "tile"):
            patch.setattr(f"histods.steps.{step}.engine_for", engine)
        yield


def make_mixed(folder: Path) -> Set:
    """Images by tifffile, OpenCV and Pillow; masks of 8 and 16 bits, palettes and 1 bit; three without masks."""
    found = Set(folder / "data", folder / "out")
    for place in (found.root / "slide_1", found.root / "free", folder / "more"):
        place.mkdir(parents=True)
    sizes = {
        "slide_1/a": (64, 64),
        "slide_1/b": (70, 45),
        "slide_2_c": (20, 90),
        "d.e": (32, 32),
        "small": (9, 12),
    }
    for number, (key, (height, width)) in enumerate(sizes.items()):
        image = found.images[key] = picture(height, width, number)
        path, mask_path = found.root / key, found.root / f"{key}_mask.png"
        mask = areas(height, width, *((1, 2), (300, 9), (3,), (1,), (200, 4))[number])
        found.masks[key] = mask
        match number:
            case 0:
                write_tiff(path.with_name("a.tif"), image)
                paletted = Image.fromarray(mask.astype(np.uint8))
                paletted.putpalette([0, 0, 0, 250, 9, 9, 9, 250, 9])
                paletted.save(mask_path)
            case 1:
                cv2.imwrite(f"{path}.bmp", image[..., ::-1])
                cv2.imwrite(str(mask_path), mask)
            case 2:
                Image.fromarray(image).save(f"{path}.webp", lossless=True)
                tifffile.imwrite(mask_path.with_suffix(".tif"), mask.astype(np.uint8))
            case 3:
                Image.fromarray(image).save(f"{path}.jpg", quality=90)
                found.images[key] = np.asarray(Image.open(f"{path}.jpg"))
                Image.fromarray(mask == 1).save(mask_path)
            case _:
                Image.fromarray(image).save(f"{path}.png")
                Image.fromarray(mask.astype(np.uint8)).save(mask_path)
    for name, (height, width) in {"u": (40, 45), "v": (32, 64)}.items():
        found.images[f"free/{name}"] = picture(height, width, 50 + height)
        Image.fromarray(found.images[f"free/{name}"]).save(found.root / "free" / f"{name}.png")
    (found.root / "label_map_10.yml").write_text(MAP)
    found.images["../more/w"] = picture(SIZE, SIZE, 9)
    Image.fromarray(found.images["../more/w"]).save(folder / "more" / "w.png")
    found.audit(unconditional=["free", folder / "more"], group_regex=r"^(slide_\d)")
    return found


@pytest.fixture
def mixed(tmp_path: Path) -> Set:
    """A fresh dataset for one test."""
    return make_mixed(tmp_path)


@dataclass
class Cut:
    """A dataset that no test changes, its tiles, and their audit."""

    dataset: Set
    folder: Path
    result: TileResult
    again: AuditResult


@pytest.fixture(scope="module", params=["shift", "pad"])
def cut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    folder = tmp_path_factory.mktemp("tiles")
    dataset = make_mixed(folder)
    result = tile(workspace=dataset.workspace, to=folder / "my tiles", size=SIZE, edge=request.param, workers=1)
    words = shlex.split(result.audit)
    assert words[:2] == ["histods", "audit"]
    return Cut(dataset, folder / "my tiles", result, audit(words[2], workspace=words[-1], workers=1))


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def put_together(folder: Path, dataset: Set) -> dict[str, int]:
    """Check that tiles hold the pixels of their sources; how many tiles each source has."""
    images = {key: np.zeros_like(image) for key, image in dataset.images.items()}
    masks = {key: np.full_like(mask, 9999) for key, mask in dataset.masks.items()}
    table = pl.read_parquet(folder / "tiles.parquet").filter(status="written")
    for row in table.iter_rows(named=True):
        part = np.s_[row["y"] : row["y"] + row["height"], row["x"] : row["x"] + row["width"]]
        image = np.asarray(Image.open(folder / row["image_path"]).convert("RGB"))
        assert image.shape[:2] == (SIZE, SIZE)
        images[row["source"]][part] = image[: row["height"], : row["width"]]
        assert (image[row["height"] :] == 255).all()
        assert (image[:, row["width"] :] == 255).all()
        if row["mask_path"] is not None:
            mask = cv2.imread(str(folder / row["mask_path"]), cv2.IMREAD_UNCHANGED)
            assert mask is not None
            assert mask.shape == (SIZE, SIZE)
            assert mask.dtype == (np.uint16 if mask.max() > 255 else np.uint8)
            masks[row["source"]][part] = mask[: row["height"], : row["width"]]
            assert not mask[row["height"] :].any()
            assert not mask[:, row["width"] :].any()
    for key, image in images.items():
        assert np.array_equal(image, dataset.images[key]), key
    for key, mask in masks.items():
        assert np.array_equal(mask, dataset.masks[key]), key
    return dict(table.group_by("source").len().iter_rows())


def test_tiles_hold_every_pixel_and_lead_back_to_it(cut: Cut) -> None:
    assert put_together(cut.folder, cut.dataset) == {
        "slide_1/a": 4,
        "slide_1/b": 6,
        "slide_2_c": 3,
        "d.e": 1,
        "small": 1,
        "free/u": 4,
        "free/v": 2,
        "../more/w": 1,
    }
    assert (cut.result.pairs, cut.result.unconditional) == ((5, 15, 0), (3, 7, 0))
    assert (cut.result.written, cut.result.present, cut.result.groups, cut.result.own_groups) == (22, 0, 7, 5)
    assert cut.result.small == ("slide_2_c.webp", "small.png")
    assert cut.result.padded == (4 if cut.result.edge == "shift" else 11)
    assert (cut.result.coverage > 1) == (cut.result.edge == "shift")
    copied = cut.folder / "pairs" / "d.e" / "x000000_y000000.jpg"  # one whole tile already
    assert copied.read_bytes() == (cut.dataset.root / "d.e.jpg").read_bytes()
    assert (cut.folder / "unconditional" / "beside" / "more" / "w" / "x000000_y000000.png").is_file()


def test_the_audit_of_tiles_knows_their_groups_and_counts_their_labels(cut: Cut) -> None:
    again, counts = cut.again, cut.again.counts
    assert again.layout.kind == "csv"
    assert not again.severities.get("error")
    assert set(again.findings) <= {"zero_mask", "constant_mask"}
    assert (counts.images, counts.pairs, counts.excluded, counts.images_without_mask) == (22, 15, 0, 7)
    rows = pl.DataFrame(again.manifest.table)
    assert set(rows["width"]) == set(rows["height"]) == {SIZE}
    both = rows.join(pl.read_parquet(cut.folder / "tiles.parquet"), on="key", how="full", suffix="_tile")
    assert both["key"].null_count() == both["key_tile"].null_count() == 0
    assert (both["group"] == both["group_tile"]).all()
    groups = dict(both.select("source", "group").unique().iter_rows())
    assert groups["slide_1/a"] == groups["slide_1/b"] == "slide_1"
    assert groups["small"] == "small"
    after = {row.label: row.pixels for row in again.labels}
    assert sum(after.values()) == 15 * SIZE * SIZE
    if cut.result.edge == "pad":  # every pixel once, and label 0 where there was none
        before = Workspace(cut.dataset.workspace).read_audit().labels
        assert after | {0: 0} == {row.label: row.pixels for row in before} | {0: 0}


def test_the_bytes_are_the_same_with_other_workers(cut: Cut, tmp_path: Path) -> None:
    to, result = tmp_path / "t", cut.result
    tile(workspace=cut.dataset.workspace, to=to, size=SIZE, edge=result.edge, workers=2)
    assert {**tree(to), "tiles.json": ""} == {**tree(cut.folder), "tiles.json": ""}  # it has the command, and --to


def test_label_maps_of_the_dataset_are_those_of_its_tiles(cut: Cut) -> None:
    assert cut.result.label_maps == ("label_map_10.yml",)
    result = remap(workspace=cut.again.workspace, map="label_map_10.yml")  # a bundled one has this name, too
    assert [row.name for row in result.classes] == ["none", "some"]


def test_after_an_audit_of_several_sizes_tiles_come_next(cut: Cut, capsys: pytest.CaptureFixture[str]) -> None:
    before = audit(cut.dataset.root, workspace=cut.dataset.workspace, workers=1, **cut.dataset.options)  # type: ignore[arg-type]
    console = make_results(quiet=False, json_output=False)
    print_next_after_audit(console, before)
    print_next_after_audit(console, cut.again)
    printed = capsys.readouterr().out.replace("\\\n", "")  # lines of a long command end in a backslash
    first, second = (shlex.split(text) for text in printed.split("Next:")[1:])
    assert first[:6] == ["histods", "tile", "--size", "32", "--to", f"{cut.dataset.root}-tiles"]
    assert second[:4] == ["histods", "remap", "--map", "label_map_10.yml"]


def test_a_split_of_tiles_keeps_images_and_slides_together(mixed: Set, tmp_path: Path) -> None:
    tile(workspace=mixed.workspace, to=tmp_path / "t", size=SIZE, stride=8, workers=1)
    audit(tmp_path / "t", workspace=tmp_path / "again", workers=1)
    split(workspace=tmp_path / "again", test=0.3)
    sides = pl.read_parquet(tmp_path / "again" / "split.parquet")
    table = pl.read_parquet(tmp_path / "t" / "tiles.parquet").join(sides, on="key", suffix="_new")
    assert table.group_by("source").agg(pl.col("split_new").n_unique())["split_new"].max() == 1
    assert table.group_by("group").agg(pl.col("split_new").n_unique())["split_new"].max() == 1
    assert table["split_new"].n_unique() == 2


def test_the_plain_folder_is_a_suffix_layout(cut: Cut, tmp_path: Path) -> None:
    to = tmp_path / "t"
    shutil.copytree(cut.folder, to)
    for name in ("tiles.json", "tiles.csv", "tiles.parquet"):
        (to / name).unlink()
    again = audit(to, workspace=tmp_path / "again", unconditional="unconditional", workers=1)
    assert (again.layout.kind, again.counts.pairs, again.severities.get("error")) == ("suffix", 15, None)


def test_splits_of_the_pairs_file_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    lines = ["image,mask,group,split"]
    for number in range(4):
        Image.fromarray(picture(40, 40, number)).save(root / f"p{number}.png")
        Image.fromarray(areas(40, 40, 1, 2).astype(np.uint8)).save(root / f"q{number}.png")
        lines.append(f"p{number}.png,q{number}.png,patient {number // 2},{('train', 'test')[number // 2]}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    audit(root, workspace=tmp_path / "out", pairs=tmp_path / "pairs.csv", workers=1)
    tile(workspace=tmp_path / "out", to=tmp_path / "t", size=SIZE, workers=1)
    audit(tmp_path / "t", workspace=tmp_path / "again", workers=1)
    split(workspace=tmp_path / "again", test=0.5)
    sides = dict(pl.read_parquet(tmp_path / "again" / "split.parquet").iter_rows())
    assert len(sides) == 16
    for key, side in sides.items():
        assert side == ("train" if key.startswith(("pairs/p0/", "pairs/p1/")) else "test")


def test_colours_become_labels_and_colours_of_no_label_are_said(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    labels = areas(50, 70, 1, 2, 7)
    shown = np.zeros((50, 70, 3), np.uint8)
    for label, colour in COLOURS.items():
        shown[labels == label] = colour
    for name in "ab":
        write_tiff(root / f"{name}.tiff", picture(50, 70, ord(name)))
        Image.fromarray(shown).save(root / f"{name}_mask.png")
    shown[3, 3:8] = (9, 9, 9)
    Image.fromarray(shown).save(root / "b_mask.png")
    text = "".join(f"  {label}: {{name: n{label}, colour: {list(colour)}}}\n" for label, colour in COLOURS.items())
    (tmp_path / "labels.yml").write_text(f"labels:\n{text}")
    audit(root, workspace=tmp_path / "out", labels=tmp_path / "labels.yml", workers=1)
    result = tile(workspace=tmp_path / "out", to=tmp_path / "t", size=SIZE, edge="pad", workers=1)
    assert result.off_palette == 5
    assert "--labels" not in result.audit
    again = audit(tmp_path / "t", workspace=tmp_path / "again", workers=1)
    found = {row.label: row.pixels for row in again.labels}
    assert found[1] == 2 * int((labels == 1).sum()) - 5
    assert (found[2], found[65535]) == (2 * int((labels == 2).sum()), 5)


def test_blank_tiles_without_labels_are_left_out_and_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "free").mkdir(parents=True)
    white = np.full((64, 64, 3), 244, np.uint8)
    half = white.copy()
    half[:, 32:] = picture(64, 32, 1)
    labelled = areas(64, 64, 3)
    labelled[:, :32] = 0
    labelled[40, 3] = 5  # one labelled pixel on glass
    for name, image, mask in (("a", half, labelled), ("b", white, labelled * 0), ("c", white, labelled)):
        Image.fromarray(image).save(root / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / f"{name}_mask.png")
    Image.fromarray(half).save(root / "free" / "u.png")
    audit(root, workspace=tmp_path / "out", unconditional="free", workers=1)
    result = tile(workspace=tmp_path / "out", to=tmp_path / "t", size=SIZE, workers=1)
    assert (result.pairs, result.unconditional) == ((3, 3 + 0 + 2, 1 + 4 + 2), (1, 2, 2))
    assert result.blank_images == ("b.png",)
    table = pl.read_parquet(tmp_path / "t" / "tiles.parquet")
    assert len(table) == 16
    blank = table.filter(status="blank")
    assert blank["image_path"].null_count() == len(blank) == 9
    assert blank["tissue"].max() == 0
    kept = tile(workspace=tmp_path / "out", to=tmp_path / "k", size=SIZE, keep_blank=True, workers=1)
    assert (kept.written, kept.pairs.blank) == (16, 0)
    again = audit(tmp_path / "k", workspace=tmp_path / "again", workers=1)
    assert (again.counts.excluded, again.counts.pairs) == (0, 12)


def test_an_image_that_cannot_be_decoded_is_named_and_the_others_are_cut(mixed: Set, tmp_path: Path) -> None:
    content = bytearray((mixed.root / "free" / "v.png").read_bytes())
    place = content.index(b"IDAT")
    length = int.from_bytes(content[place - 4 : place])
    content[place + length // 2 : place + length // 2 + 40] = bytes(40)
    content[place + 4 + length : place + 8 + length] = zlib.crc32(content[place : place + 4 + length]).to_bytes(4)
    (mixed.root / "free" / "w.png").write_bytes(content)  # its structure is sound
    mixed.audit()
    result = tile(workspace=mixed.workspace, to=tmp_path / "t", size=SIZE, workers=1)
    assert [name for name, _ in result.unreadable] == ["free/w.png"]
    assert (result.pairs.tiles, result.unconditional.tiles) == (15, 7)
    row = pl.read_parquet(tmp_path / "t" / "tiles.parquet").filter(status="unreadable").row(0, named=True)
    assert row["reason"]
    assert tile(workspace=mixed.workspace, to=tmp_path / "t", size=SIZE, workers=1).written == 0


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "--size 0 is not between 1 and 65,535 pixels"),
        ({"size": -512}, "--size -512 is not between 1"),
        ({"size": 70_000}, "--size 70,000 is not between 1"),
        ({"size": 32, "stride": 0}, "--stride 0 is not between 1 and the 32 pixels of --size;"),
        ({"size": 32, "stride": -1}, "--stride -1 is not between 1 and the 32"),
        ({"size": 32, "stride": 33}, "so some pixels would be in no tile"),
        ({"edge": "mirror"}, "--edge cannot be 'mirror'"),
        ({"pad_label": -1}, "--pad-label -1 is not between 0 and 65,535"),
        ({"pad_label": 1 << 16}, "--pad-label 65,536 is not between 0 and 65,535"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, options: dict[str, object], text: str) -> None:
    assert text in refusal(lambda: tile(workspace=tmp_path, to=tmp_path / "t", **options))  # type: ignore[arg-type]
    assert not (tmp_path / "t").exists()


def test_places_that_are_not_free_are_refused(mixed: Set, tmp_path: Path) -> None:
    def cut(to: Path, **options: object) -> Callable[[], object]:
        return lambda: tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1, **options)  # type: ignore[arg-type]

    assert "which is never written to" in refusal(cut(mixed.root / "tiles"))
    assert "which is never written to" in refusal(cut(tmp_path))
    (tmp_path / "file").touch()
    assert "is a file; --to must name a folder" in refusal(cut(tmp_path / "file"))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x.png").touch()
    assert "already holds x.png; choose a new or empty folder for --to." in refusal(cut(tmp_path / "used"))
    to = tmp_path / "t"
    cut(to)()
    before = tree(to)
    for options in ({"stride": 16}, {"edge": "pad"}, {"keep_blank": True}, {"pad_label": 5}):
        text = refusal(cut(to, **options))
        assert f"those of 'histods tile --size 32 --to {to} -w {mixed.workspace}'; run that command" in text
    Image.fromarray(picture(40, 40, 3)).save(mixed.root / "free" / "new.png")
    mixed.audit()
    assert "holds tiles of the same dataset as it was before" in refusal(cut(to))
    (to / "tiles.json").write_text('{"size": "x"}')
    assert "is not what 'histods tile' wrote" in refusal(cut(to))
    assert {**tree(to), "tiles.json": ""} == {**before, "tiles.json": ""}


def test_other_groups_cut_nothing_again(mixed: Set, tmp_path: Path) -> None:
    to = tmp_path / "t"
    tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1)
    text = refusal(lambda: audit(to, workspace=tmp_path / "again", group_regex="^(.)"))
    assert f"audit {mixed.root} with it and run 'histods tile --size 32 --to {to}" in text
    mixed.audit(group_regex="^(.)")
    result = tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1)
    assert (result.written, result.present) == (0, 22)
    again = audit(to, workspace=tmp_path / "again", workers=1)
    assert set(Manifest.read(again.workspace / "manifest.parquet").to_polars()["group"]) == set("sdf.")


@pytest.mark.parametrize("change", ["image", "mask", "gone"])
def test_files_that_changed_since_the_audit_are_named(mixed: Set, tmp_path: Path, change: str) -> None:
    path = mixed.root / ("small_mask.png" if change == "mask" else "small.png")
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StaleFileError, match=rf"{path.name} is not as the audit read it \(.* then tile again"):
        tile(workspace=mixed.workspace, to=tmp_path / "t", size=SIZE, workers=1)


def test_a_mask_of_other_labels_in_the_same_bytes_is_named(mixed: Set, tmp_path: Path) -> None:
    path = mixed.root / "slide_2_c_mask.tif"
    state = path.stat()
    content = bytearray(path.read_bytes())
    place = content.index(b"\3\3\3")
    content[place] = 4
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(StaleFileError, match="\\(other labels\\); run '.* --fresh', then tile again"):
        tile(workspace=mixed.workspace, to=tmp_path / "t", size=SIZE, workers=1)


def test_a_full_disk_is_named_and_the_next_run_goes_on(
    mixed: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    tasks: list[worker.TileTask] = []
    monkeypatch.setattr("histods.steps.tile._run", lambda _engine, todo, *_: tasks.extend(todo))
    tile(workspace=mixed.workspace, to=tmp_path / "none", size=SIZE, workers=1)
    monkeypatch.undo()
    written: list[Path] = []
    real = write_bytes

    def full(path: Path, content: bytes) -> None:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        real(path, content)

    monkeypatch.setattr(worker, "write_bytes", full)
    options = replace(OPTIONS, root=str(mixed.root), folder=str(part))
    report = worker.cut_tiles(tasks, options=options)
    assert report.disk is not None
    assert report.disk.endswith(": No space left on device")
    assert len(written) == 5


def test_what_is_missing_or_torn_is_cut_again(mixed: Set, tmp_path: Path) -> None:
    to = tmp_path / "t"
    tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1)
    before = tree(to)
    (to / "pairs/slide_1/a/x000032_y000000.png").unlink()
    (to / "pairs/small/x000000_y000000_mask.png").write_bytes(b"torn")
    (to / "tiles.csv").unlink()
    result = tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1)
    assert (result.written, result.present) == (5, 17)
    assert tree(to) == before


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(mixed: Set, tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(picture(150, 150, number)).save(mixed.root / "free" / f"more{number}.png")
    mixed.audit()
    to = tmp_path / "t"
    command = [
        sys.executable,
        "-m",
        "histods",
        "tile",
        "-w",
        str(mixed.workspace),
        "--size",
        "32",
        "--workers",
        "2",
    ]
    command += ["--quiet", "--to", str(to)]
    subprocess.run(command, check=True)
    whole = tree(to)
    killed = partly = 0
    for share in (0.1, 0.9):
        to.rename(tmp_path / f"before{share}")
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and sum(path.is_file() for path in to.rglob("*.png")) < share * len(whole):
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if not json.loads((to / "tiles.json").read_text())["tiles_digest"]:
            partly += 1
            text = refusal(lambda: audit(to, workspace=tmp_path / "never"))
            assert text.startswith(f"The tiles in {to} are not finished; run 'histods tile")
        tile(workspace=mixed.workspace, to=to, size=SIZE, workers=1)
        assert tree(to) == whole
    assert killed
    assert partly


def test_the_command_says_what_it_did_and_what_comes_next(cut: Cut) -> None:
    words = ["tile", "--size", "32", "--edge", cut.result.edge, "--to", "my tiles", "-w", "out"]
    run = histods(*words, env={**os.environ, "COLUMNS": "200"}, cwd=cut.dataset.root.parent)
    assert run.returncode == 0
    said = run.stdout + run.stderr
    padding = "white in the image, label 0 in the mask"
    if cut.result.edge == "pad":
        assert f"Edges: 11 tiles padded to the right and below: {padding}." in said
    else:
        assert "overlaps the one before; a pixel is in 1." in said
        assert f"2 images smaller than a tile, padded ({padding}): slide_2_c.webp, small.png" in said
    assert "0 tiles written, 22 were there already: my tiles" in said
    assert said.endswith("Next: histods audit 'my tiles' -w 'my tiles-histods'\n")
    assert "Copied from the dataset, for 'histods remap': label_map_10.yml\n" in said
    document = to_document(cut.result)
    assert json.loads(json.dumps(document))["pairs"] == {"images": 5, "tiles": 15, "blank": 0}
    assert set(document) >= {field.name for field in fields(cut.result)} - {"own_groups"}
