"""Remedies of names and orientation: pixels equal those that Pillow shows, and only what is proven is done."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from histods.images.reader import check_image
from histods.remedies import recode, suffix, untag, upright
from histods.remedies.orientation import FITS_NEITHER, FITS_STORED, FITS_UPRIGHT, UNDECIDED
from tests.histods.remedies.planted import ORIENTATIONS, as_palette, refusal, regions, repair, saved, tagged

if TYPE_CHECKING:
    from numpy.typing import NDArray

needs_jpegtran = pytest.mark.skipif(
    shutil.which("jpegtran") is None, reason="needs jpegtran (libjpeg-turbo-progs)"
)


def photograph(*, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def shown(content: bytes) -> NDArray[np.uint8]:
    """The pixels as Pillow turns them by the tag."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))


def opened(content: bytes) -> JpegImageFile:
    image = Image.open(io.BytesIO(content))
    assert isinstance(image, JpegImageFile)
    return image


def smooth(*, height: int, width: int) -> Image.Image:
    small = Image.fromarray(photograph(height=6, width=8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_pixels_of_lossless_files_equal_those_that_viewers_show(name: str, orientation: int) -> None:
    mask = regions()
    for image, is_mask in (
        (Image.fromarray(photograph()), False),
        (Image.fromarray(mask), True),
        (as_palette(mask), True),
        (Image.fromarray(mask.astype(np.uint16) * 300), True),
    ):
        content = saved(image, name, exif=tagged(orientation))
        made = repair(upright.REMEDY, content, is_mask=is_mask)
        new = Image.open(io.BytesIO(made.content))
        assert new.mode == image.mode
        assert np.array_equal(np.asarray(new), shown(content))
        assert check_image(made.content).orientation == 1
        assert new.getexif().get(274, 1) == 1


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_turned_images_keep_what_they_hold_beside_pixels(name: str) -> None:
    options: dict[str, Any] = {"exif": tagged(6), "dpi": (300, 300), "icc_profile": b"profile " * 20}
    if name == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Comment", "Präparat 7")
    made = repair(upright.REMEDY, saved(Image.fromarray(photograph()), name, **options), is_mask=False)
    new = Image.open(io.BytesIO(made.content))
    assert new.getexif()[270] == "a description"
    assert new.info["icc_profile"] == options["icc_profile"]
    assert round(new.info["dpi"][0]) == 300
    assert name != "PNG" or new.info["Comment"] == "Präparat 7"


@needs_jpegtran
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_jpeg_files_of_whole_blocks_are_turned_without_encoding_again(orientation: int) -> None:
    content = saved(smooth(height=48, width=64), "JPEG", exif=tagged(orientation), quality=70)
    made = repair(upright.REMEDY, content, is_mask=False)
    new, old = opened(made.content), opened(content)
    assert np.abs(np.asarray(new).astype(int) - shown(content).astype(int)).max() <= 4  # rounding of the transform
    assert new.getexif()[270] == "a description"
    assert made.after.endswith("no tag, coefficients unchanged")
    transposed = {key: np.reshape(table, (8, 8)).T.ravel().tolist() for key, table in old.quantization.items()}
    assert new.quantization == (transposed if orientation >= 5 else old.quantization)


def test_jpeg_files_that_cannot_be_turned_without_loss_are_encoded_again_only_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    content = saved(smooth(height=50, width=67), "JPEG", exif=tagged(6), quality=70)
    assert "jpegtran" in refusal(upright.REMEDY, content, is_mask=False)
    assert recode.REMEDY.by_name
    made = repair(recode.REMEDY, content, is_mask=False, named=True)
    new, old = opened(made.content), opened(content)
    assert new.size == (50, 67)
    assert new.quantization == old.quantization
    difference = np.abs(np.asarray(new).astype(int) - shown(content).astype(int))
    assert difference.mean() < 6  # colours of a few pixels each are the hardest case
    assert new.getexif().get(274, 1) == 1
    assert new.getexif()[270] == "a description"
    assert "pixels change a little" in made.after


@needs_jpegtran
def test_a_jpeg_file_with_a_part_of_a_block_is_refused() -> None:
    content = saved(smooth(height=48, width=67), "JPEG", exif=tagged(2))
    assert "--remedy recode" in refusal(upright.REMEDY, content, is_mask=False)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_removing_the_tag_changes_no_other_byte(name: str, orientation: int) -> None:
    content = saved(Image.fromarray(photograph()), name, exif=tagged(orientation))
    made = repair(untag.REMEDY, content, is_mask=False, named=True)
    assert check_image(content).orientation == orientation
    assert check_image(made.content).orientation == 1
    changed = sum(first != second for first, second in zip(content, made.content, strict=True))
    assert 1 <= changed <= (5 if name == "PNG" else 1)  # and the checksum of a chunk


@pytest.mark.parametrize(
    ("size", "partner", "tag", "upright_says", "untag_says"),
    [
        ((64, 48), (48, 64), 1, None, FITS_UPRIGHT),
        ((64, 48), (64, 48), 1, FITS_STORED, None),
        ((64, 48), (64, 48), 6, None, None),  # both are turned alike
        ((48, 48), (48, 48), 1, UNDECIDED, UNDECIDED),
        ((48, 48), (48, 48), 6, None, None),
        ((64, 48), (48, 64), 3, UNDECIDED, FITS_UPRIGHT),  # whether the mask is upside down, no size tells
        ((64, 48), (32, 32), 1, FITS_NEITHER, FITS_NEITHER),
    ],
)
def test_sizes_tell_whether_the_pixels_or_the_tag_are_right(
    size: tuple[int, int], partner: tuple[int, int], tag: int, upright_says: str | None, untag_says: str | None
) -> None:
    image = saved(Image.fromarray(photograph(height=size[1], width=size[0])), exif=tagged(6))
    mask = saved(Image.fromarray(regions(height=partner[1], width=partner[0])), exif=tagged(tag))
    for remedy, says in ((upright.REMEDY, upright_says), (untag.REMEDY, untag_says)):
        if says is None:
            repair(remedy, image, is_mask=False, partners=(mask,))
        else:
            assert refusal(remedy, image, is_mask=False, partners=(mask,)) == says
        if says is UNDECIDED:  # the user's word settles it
            repair(remedy, image, is_mask=False, partners=(mask,), named=True)


def test_hostile_orientation_tags_end_in_a_reason() -> None:
    content = saved(Image.fromarray(photograph()), "JPEG", exif=tagged(6))
    random = np.random.default_rng(1)
    place = content.index(b"Exif\0\0")
    for _ in range(300):
        broken = bytearray(content)
        for spot in random.integers(place, place + 60, 3):
            broken[spot] = random.integers(256)
        try:
            made = repair(untag.REMEDY, bytes(broken), is_mask=False, named=True)
        except Exception as error:
            assert type(error).__name__ == "RefusedError"
        else:
            assert check_image(made.content).orientation == 1


def test_a_suffix_becomes_that_of_the_content() -> None:
    content = saved(Image.fromarray(photograph()), "JPEG")
    for path, new in (("a/x.png", ".jpg"), ("X.PNG", ".JPG"), ("x.y.tif", ".jpg")):
        made = repair(suffix.REMEDY, content, is_mask=False, path=path)
        assert (made.content, made.suffix) == (content, new)
    assert refusal(suffix.REMEDY, content, is_mask=False, path="x.jpeg") == "its suffix is right"
    gif = saved(Image.fromarray(regions()), "GIF")
    assert "no format of images" in refusal(suffix.REMEDY, gif, is_mask=False, path="x.png")
    assert repair(suffix.REMEDY, gif, path="x.png").suffix == ".gif"
    webp = saved(Image.fromarray(photograph()), "WEBP")
    assert repair(suffix.REMEDY, webp, is_mask=False, path="x" * 250 + ".jpg").suffix == ".webp"
    assert "longer than 255 bytes" in refusal(suffix.REMEDY, webp, is_mask=False, path="ä" * 125 + "x.jpg")
    assert refusal(suffix.REMEDY, os.urandom(0)).startswith("the file cannot be read")
