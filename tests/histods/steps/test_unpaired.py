"""A mask never becomes a training image: whatever its name, its format and its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from histods.cli.main import app
from histods.errors import HistodsError
from histods.shards.images.reader import ShardReader
from histods.steps.audit import audit
from histods.steps.shard import shard
from histods.steps.split import split
from tests.histods.checks.mask_files import opencv, photograph, pillow, regions, tiff, vips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.measurement.audit_result import AuditResult

SIZE = 64
COLOURS = np.array([[255, 255, 255], [200, 20, 60], [0, 120, 0], [40, 60, 200]], np.uint8)


def tissue(seed: int) -> NDArray[np.uint8]:
    return photograph(seed, SIZE, SIZE)


def labels(seed: int, number: int = 3) -> NDArray[np.uint8]:
    return regions(seed + 500, tuple(range(number)), height=SIZE, width=SIZE, smooth=8)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def overlay(seed: int) -> NDArray[np.uint8]:
    return (0.6 * tissue(seed) + 0.4 * COLOURS[labels(seed)]).astype(np.uint8)


def make_pairs(root: Path, number: int = 12) -> None:
    for place in range(number):
        put(root / f"t{place:02}.jpg", pillow(tissue(place), "JPEG", quality=92))
        put(root / f"t{place:02}_mask.png", pillow(labels(place), "PNG"))


def run(root: Path, **options: Any) -> tuple[AuditResult, dict[str, tuple[str, str]]]:
    """The result of an audit, and role and findings of each picture that is in no pair."""
    result = audit(root, workspace=root.parent / "out", workers=1, **options)
    codes: dict[str, str] = {}
    for finding in result.iter_findings():
        codes[finding.path] = f"{codes.get(finding.path, '')} {finding.code}".strip()
    rows = result.manifest.to_polars().filter(pl.any_horizontal(pl.col("image_path", "mask_path").is_null()))
    paths = rows.select(pl.coalesce("image_path", "mask_path"), "role").iter_rows()
    return result, {path: (role, codes.get(path, "")) for path, role in paths}


NO_IMAGES: dict[str, Callable[[], bytes]] = {
    "t03_mask (1).png": lambda: pillow(labels(3), "PNG"),
    "t03_mask - Copy.png": lambda: opencv(labels(3), ".png"),
    "t03_mask_old.tif": lambda: tiff(labels(3)),
    "t03_masks.png": lambda: vips(labels(3), ".png"),
    "t03_seg.webp": lambda: vips(labels(3) * 100, ".webp", lossless=True),
    "t03_classes.png": lambda: opencv(COLOURS[labels(3)], ".png"),
    "nothing-in-its-name.png": lambda: pillow(labels(9), "PNG"),
    "x17.tif": lambda: vips(labels(9, 5), ".tif", compression="deflate"),
    "x18.bmp": lambda: opencv(labels(9, 2) * 255, ".bmp"),
    "x19.tif": lambda: pillow(labels(9, 2).astype(bool), "TIFF"),
    "x20.png": lambda: pillow(np.zeros((SIZE, SIZE), np.uint8), "PNG"),
    "x21.tif": lambda: tiff(labels(9).astype(np.uint16) * 300),
    "annotations/t03.png": lambda: opencv(COLOURS[labels(3)], ".png"),
    "old/masks/t03.jpg": lambda: pillow(labels(3) * 100, "JPEG", quality=95),
    "nuclei/b1a4.png": lambda: opencv(np.pad(np.full((9, 9), 255, np.uint8), 27), ".png"),
    "t03_overlay.jpg": lambda: pillow(overlay(3), "JPEG"),
    "overlays/t03.png": lambda: vips(overlay(3), ".png"),
    "predictions/t03.jpg": lambda: opencv(overlay(4), ".jpg"),
    "thumbnails/t03.jpg": lambda: opencv(tissue(3)[::4, ::4], ".jpg"),
    "t03_heatmap.png": lambda: opencv(cv2.applyColorMap(tissue(3)[..., 1], cv2.COLORMAP_JET), ".png"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGES)
def test_a_picture_that_is_no_image_is_excluded_and_told(tmp_path: Path, name: str) -> None:
    make_pairs(tmp_path / "data")
    put(tmp_path / "data" / name, NO_IMAGES[name]())
    result, alone = run(tmp_path / "data")
    assert alone[name] == ("excluded", "looks_like_mask")
    assert (result.counts.images, result.counts.pairs, result.counts.excluded) == (12, 12, 1)


@pytest.mark.parametrize("name", NO_IMAGES)
def test_nobody_lets_it_in_by_saying_that_images_need_no_masks(tmp_path: Path, name: str) -> None:
    make_pairs(tmp_path / "data", 4)
    put(tmp_path / "data" / name, NO_IMAGES[name]())
    put(tmp_path / "data/free/t03.jpg", pillow(tissue(30), "JPEG"))
    put(tmp_path / "data/free/" / name, NO_IMAGES[name]())
    _, alone = run(tmp_path / "data", allow_unpaired=True, unconditional="free")
    assert alone == {
        name: ("excluded", "looks_like_mask"),
        f"free/{name}": ("excluded", "looks_like_mask"),
        "free/t03.jpg": ("unconditional", ""),
    }


IMAGES: dict[str, Callable[[], bytes]] = {
    "u1.jpg": lambda: pillow(tissue(40), "JPEG"),
    "label-free_2.png": lambda: opencv(tissue(41), ".png"),
    "unmasked/u3.tif": lambda: tiff(tissue(42)),
    "glass.jpg": lambda: pillow(np.full((SIZE, SIZE, 3), (243, 240, 244), np.uint8), "JPEG"),
    "white.png": lambda: vips(np.full((SIZE, SIZE, 3), 255, np.uint8), ".png"),
    "black.jpg": lambda: pillow(np.zeros((SIZE, SIZE, 3), np.uint8), "JPEG"),
    "dark.png": lambda: opencv(np.full((SIZE, SIZE, 3), 9, np.uint8), ".png"),
    "grey.bmp": lambda: opencv(tissue(43)[..., 1], ".bmp"),
    "half.png": lambda: pillow(np.hstack([tissue(44)[:, :32], np.full((SIZE, 32, 3), 244, np.uint8)]), "PNG"),
    "tumour_edge.webp": lambda: vips(tissue(45), ".webp"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_without_a_mask_is_trained_on_only_by_design(tmp_path: Path, name: str) -> None:
    make_pairs(tmp_path / "data", 3)
    put(tmp_path / "data/free" / name, IMAGES[name]())
    result, alone = run(tmp_path / "data")
    assert alone[f"free/{name}"] == ("excluded", "missing_mask")
    assert (result.counts.images, result.counts.images_without_mask, result.counts.unconditional) == (4, 1, 0)
    (missing,) = [finding for finding in result.iter_findings() if finding.code == "missing_mask"]
    folder = f"free/{name}".rpartition("/")[0]
    assert f"if that is meant, audit again with --unconditional '{folder}'" in missing.message
    for options in (
        {"allow_unpaired": True},
        {"unconditional": "free"},
        {"unconditional": tmp_path / "data/free"},
    ):
        result, alone = run(tmp_path / "data", **options)
        assert alone[f"free/{name}"] == ("unconditional", "")
        assert result.severities.get("error", 0) == 0


def test_a_row_of_the_pairs_file_without_a_mask_says_that_none_is_meant(tmp_path: Path) -> None:
    make_pairs(tmp_path / "data", 2)
    put(tmp_path / "data/u.jpg", pillow(tissue(40), "JPEG"))
    put(tmp_path / "data/v.png", pillow(labels(41), "PNG"))
    (tmp_path / "pairs.csv").write_text("image,mask\nt00.jpg,t00_mask.png\nu.jpg,\nv.png,\n")
    _, alone = run(tmp_path / "data", pairs=tmp_path / "pairs.csv")
    assert alone == {
        "u.jpg": ("unconditional", ""),
        "v.png": ("excluded", "looks_like_mask"),
        "t01.jpg": ("excluded", "outside_layout"),
        "t01_mask.png": ("excluded", "outside_layout"),
    }


def test_what_is_outside_the_layout_is_a_row_and_is_never_sharded(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for place in range(6):
        put(root / f"images/t{place}.jpg", pillow(tissue(place), "JPEG", quality=92))
        put(root / f"masks/t{place}.png", pillow(labels(place), "PNG"))
        put(root / f"overlays/t{place}.png", pillow(overlay(place), "PNG"))
    put(root / "test/u.jpg", pillow(tissue(50), "JPEG"))
    put(root / "damaged.jpg", b"\xff\xd8\xff")
    result, alone = run(root)
    assert set(alone.values()) == {("excluded", "outside_layout")}
    assert len(alone) == 8
    assert (result.counts.images, result.counts.excluded, result.severities) == (6, 8, {"warning": 8})
    split(workspace=tmp_path / "out", test=0.5)
    shard(workspace=tmp_path / "out")
    reader = ShardReader(tmp_path / "out/shards")
    assert len(reader) == 6


def command(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, " ".join(done.output.split())


def test_a_dataset_without_a_pair_fails_and_says_how_to_name_the_masks(tmp_path: Path) -> None:
    for place in range(4):
        put(tmp_path / f"data/t{place}.jpg", pillow(tissue(place), "JPEG"))
    status, text = command("audit", tmp_path / "data", "-w", tmp_path / "out", "--workers", "1")
    assert status == 1
    assert "Exit status 1: no image has a mask. Say how they pair with --mask-suffix" in text
    status, _ = command("audit", tmp_path / "data", "-w", tmp_path / "out", "--workers", "1", "--allow-unpaired")
    assert status == 0


def test_a_folder_of_masks_alone_has_no_image(tmp_path: Path) -> None:
    for place in range(4):
        put(tmp_path / f"data/masks/t{place}.png", pillow(labels(place), "PNG"))
    result, alone = run(tmp_path / "data")
    assert {role for role, _ in alone.values()} == {"excluded"}
    assert result.counts.images == 0


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"x", "a/b.npy": b"y"}])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, content: dict[str, bytes]) -> None:
    (tmp_path / "data").mkdir()
    for name, text in content.items():
        put(tmp_path / "data" / name, text)
    listed = "images in .*/data, only 1 .npy, 1 .txt" if content else "files in .*/data"
    with pytest.raises(HistodsError, match=f"There are no {listed}; give the folder that holds the dataset"):
        audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
