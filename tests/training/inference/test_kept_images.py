"""Kept images: found by name, checked with their masks, and joined without touching what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import HistodsError, StaleFileError
from training.inference.kept_images import Kept, KeptImages, join
from training.inference.mask_inputs import MaskFile

if TYPE_CHECKING:
    from pathlib import Path


def random_image(seed: int, size: int = 24) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_joined_images_have_the_old_bits_where_they_are_kept(seed: int, share: float) -> None:
    change = np.random.default_rng(seed).random((1, 24, 24)) < share
    old, made = random_image(seed)[None], random_image(seed + 1)[None]
    joined = join(made, Kept(old, change), radius=4)
    assert np.array_equal(joined[~change], old[~change])
    if change.all():
        assert np.array_equal(joined, made)


def test_a_shift_in_tone_is_taken_up_at_the_border_and_fades_out_inside() -> None:
    old, made = np.full((1, 48, 48, 3), 100, np.uint8), np.full((1, 48, 48, 3), 130, np.uint8)
    change = np.zeros((1, 48, 48), bool)
    change[:, :, 20:] = True
    row = join(made, Kept(old, change), radius=8)[0, 24, :, 0].astype(int)
    assert (row[:20] == 100).all()
    assert abs(row[20] - 100) <= 4
    assert (np.diff(row[19:]) >= 0).all()
    assert np.diff(row).max() <= 4, "no step"
    assert (row[28:] == 130).all()


def test_old_content_of_the_region_does_not_show_through() -> None:
    old, made = np.full((1, 48, 48, 3), 100, np.uint8), np.full((1, 48, 48, 3), 100, np.uint8)
    change = np.zeros((1, 48, 48), bool)
    change[:, 10:30, 10:30] = True
    old[change] = 0  # a mark
    assert (join(made, Kept(old, change), radius=8) == np.where(change[..., None], 100, old)).all()


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Images and regions of two masks, in a folder each."""
    for folder in ("keep/deep", "change/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "deep/b"):
        Image.fromarray(random_image(1)).save(tmp_path / "keep" / f"{name}.png")
        Image.fromarray(np.eye(24, dtype=np.uint8) * 255).save(tmp_path / "change" / f"{name}_mask.png")
        Image.new("L", (24, 24)).save(tmp_path / "keep" / f"{name}_mask.png")
    return tmp_path / "keep", tmp_path / "change"


def mask(name: str, size: int = 24) -> MaskFile:
    from pathlib import Path

    return MaskFile(path=Path(f"{name}_mask.png"), name=name, height=size, width=size, digest="0" * 64)


def test_files_are_found_by_the_names_of_masks(places: tuple[Path, Path]) -> None:
    found = KeptImages(*places, [mask("a"), mask("deep/b")])
    kept = found.read(["deep/b", "a"])
    assert kept.images_BHW3.shape == (2, 24, 24, 3)
    assert np.array_equal(kept.change_BHW[0], np.eye(24, dtype=bool))
    one = KeptImages(places[0] / "a.png", places[1] / "a_mask.png", [mask("anything")])
    assert np.array_equal(one.read(["anything"]).images_BHW3[0], random_image(1))
    assert found.digest != KeptImages(*places, [mask("a")]).digest


def test_a_reduced_region_changes_wherever_a_pixel_of_it_did(places: tuple[Path, Path]) -> None:
    kept = KeptImages(*places, [mask("a", 12)], reduce=2).read(["a"])
    assert kept.images_BHW3.shape == (1, 12, 12, 3)
    assert np.array_equal(kept.change_BHW[0], np.eye(12, dtype=bool))


def test_what_is_missing_or_of_another_size_is_one_line(places: tuple[Path, Path]) -> None:
    keep, change = places
    for masks, said in (
        ([mask("a"), mask("c"), mask("d")], "--keep .* has no file for the mask c and 1 more; give a folder with"),
        ([mask("a", 32)], "a.png is 24x24 px, but its mask a_mask.png is 32x32; cut both to one size"),
    ):
        with pytest.raises(HistodsError, match=said) as caught:
            KeptImages(keep, change, masks)
        assert "\n" not in str(caught.value)
    Image.new("L", (8, 8)).save(change / "a_mask.png")
    with pytest.raises(HistodsError, match="change/a_mask.png is 8x8 px, but its mask"):
        KeptImages(keep, change, [mask("a")])
    (keep / "deep" / "b.png").write_bytes(b"")
    with pytest.raises(HistodsError, match="b.png cannot be read: .*; correct it or remove it"):
        KeptImages(keep, change, [mask("deep/b")])


def test_a_file_that_changed_since_is_refused(places: tuple[Path, Path]) -> None:
    found = KeptImages(*places, [mask("a")])
    Image.fromarray(random_image(2)).save(places[0] / "a.png")
    with pytest.raises(StaleFileError, match="has changed since it was checked"):
        found.read(["a"])
