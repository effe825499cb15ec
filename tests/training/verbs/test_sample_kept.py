"""sample --keep: only what is to change does, in images of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from tests.training.verbs.test_sample import halves, made, make_run, pixels, write_mask
from training.verbs.sample import sample


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with masks of two sizes, images, and regions."""
    folder = tmp_path_factory.mktemp("kept")
    make_run(folder / "runs" / "default")
    random = np.random.default_rng(0)
    for name, size in (("small", 32), ("large", 88)):
        write_mask(folder / "masks" / f"{name}_mask.png", halves(1, 2, size))
        picture = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "images" / f"{name}.png")
        region = np.zeros((size, size), np.uint8)
        region[5 : size // 2, 9 : size - 3] = 255
        write_mask(folder / "some" / f"{name}.png", region)
        write_mask(folder / "all" / f"{name}.png", np.ones_like(region))
        write_mask(folder / "none" / f"{name}.png", np.zeros_like(region))
    return folder


def paint(place: Path, change: str | None, out: Path, **options: Any) -> dict[str, Any]:
    if change is not None:
        options |= {"keep": place / "images", "change": place / change}
    result = sample(masks=place / "masks", workspace=place, out=out, **{"steps": 3, **options})
    return {name: pixels(result.folder / f"{name}.png") for name in ("small", "large")}


@pytest.mark.parametrize("options", [{}, {"sampler": "ddim", "eta": 1.0}, {"sampler": "unipc"}], ids=str)
def test_only_the_region_changes(place: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    for name, found in paint(place, "some", tmp_path / "out", **options).items():
        old, region = pixels(place / "images" / f"{name}.png"), pixels(place / "some" / f"{name}.png") > 0
        assert np.array_equal(found[~region], old[~region])
        assert (found[region] != old[region]).mean() > 0.9


def test_a_region_of_all_is_plain_sampling_and_one_of_nothing_the_image(place: Path, tmp_path: Path) -> None:
    plain = paint(place, None, tmp_path / "plain")
    whole = paint(place, "all", tmp_path / "all")
    nothing = paint(place, "none", tmp_path / "none")
    for name in plain:
        assert np.array_equal(whole[name], plain[name])
        assert np.array_equal(nothing[name], pixels(place / "images" / f"{name}.png"))


def test_a_call_that_is_repeated_makes_the_same_bytes_and_another_image_another_recipe(
    place: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"masks": place / "masks", "workspace": place, "steps": 2, "count": 2}
    options |= {"keep": place / "images", "change": place / "some"}
    first = sample(out=tmp_path / "a", **options)
    whole = made(first)
    (tmp_path / "a" / "large-1.png").unlink()
    assert sample(out=tmp_path / "a", **options).written == 1
    assert made(first) == whole
    with pytest.raises(HistodsError, match="another recipe .kept .* instead of "):
        sample(out=tmp_path / "a", **options | {"change": place / "all"})
    assert "kept" in json.loads(first.record.read_text())["recipe"]


def test_a_tiff_keeps_its_pixels(place: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"masks": place / "masks" / "large_mask.png", "workspace": place, "steps": 1}
    region = place / "some" / "large.png"
    result = sample(out=tmp_path, format="tiff", keep=place / "images" / "large.png", change=region, **options)
    kept = pixels(region) == 0
    assert np.array_equal(pixels(result.folder / "large.tif")[kept], pixels(place / "images" / "large.png")[kept])


def test_both_options_are_needed_and_no_folder_of_them_is_written_to(place: Path, tmp_path: Path) -> None:
    for options in ({"keep": place / "images"}, {"change": place / "some"}):
        with pytest.raises(HistodsError, match="--keep and --change belong together"):
            sample(masks=place / "masks", workspace=place, out=tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(HistodsError, match="overlaps the folder of the masks, or of what is kept"):
        sample(
            masks=place / "masks",
            workspace=place,
            keep=place / "images",
            change=place / "some",
            out=place / "images",
        )


@pytest.mark.parametrize("options", [{}, {"reference": True}, {"guidance_rescale": 0.7}], ids=str)
def test_a_changed_image_does_not_depend_on_its_batch(
    place: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {"masks": place / "masks" / "small_mask.png", "workspace": place, "steps": 3, "count": 3, **options}
    options |= {"keep": place / "images" / "small.png", "change": place / "some" / "small.png"}
    one, many = (sample(out=tmp_path / f"{size}", batch=size, **options) for size in (1, 3))
    for name in ("small.png", "small-1.png", "small-2.png"):
        assert np.abs(pixels(one.folder / name) - pixels(many.folder / name)).max() <= 1, "rounding"
    assert not np.array_equal(pixels(one.folder / "small.png"), pixels(one.folder / "small-1.png"))
