"""Pictures of samples show every pixel of the image, and labels in the colours of the charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.errors import UnreadableFileError
from histods.io.open_file import OpenRoot
from histods.masks.overlays import colour_labels, draw_overlay, lay_over, write_overlay
from histods.palette import class_fill

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
LABELS = np.arange(54, dtype=np.uint8).reshape(6, 9) % 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(LABELS).save(tmp_path / "ä mask.png")
    Image.fromarray(LABELS[:4, :5].copy()).save(tmp_path / "small.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    return tmp_path


def draw(root: Path, image: str | None, mask: str | None) -> NDArray[np.uint8]:
    with OpenRoot(root) as opened:
        return draw_overlay(opened, image, mask, None, nearest=False)


def face(label: int) -> tuple[int, ...]:
    return tuple(bytes.fromhex(class_fill(label).face[1:]))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint16, (4, 5), elements=st.integers(0, 30) | st.just(65535)))
def test_label_0_leaves_the_image_and_others_are_mixed_with_their_colour(labels: NDArray[np.uint16]) -> None:
    image = IMAGE[:4, :5]
    painted, mixed = colour_labels(labels), lay_over(image, labels)
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        assert tuple(painted[place]) == face(label)
        expected = image[place] if label == 0 else 0.55 * image[place] + 0.45 * np.array(face(label))
        assert np.abs(mixed[place] - expected).max() <= 0.5001
    assert mixed.dtype == painted.dtype == np.uint8


def test_image_and_overlay_lie_side_by_side_on_white(root: Path) -> None:
    page = draw(root, "a.png", "ä mask.png")
    assert page.shape == (6, 9 + 8 + 9, 3)
    np.testing.assert_array_equal(page[:, :9], IMAGE)
    assert (page[:, 9:17] == 255).all()
    np.testing.assert_array_equal(page[:, 17:], lay_over(IMAGE, LABELS))


def test_a_mask_of_another_size_lies_beside_the_image_and_one_alone_fills_the_page(root: Path) -> None:
    page = draw(root, "a.png", "small.png")
    assert page.shape == (6, 9 + 8 + 5, 3)
    np.testing.assert_array_equal(page[:4, 17:], colour_labels(LABELS[:4, :5]))
    assert (page[4:, 17:] == 255).all()
    np.testing.assert_array_equal(draw(root, "a.png", None), IMAGE)
    np.testing.assert_array_equal(draw(root, None, "ä mask.png"), colour_labels(LABELS))


def test_what_can_be_decoded_is_shown_and_else_all_reasons_are_told(root: Path) -> None:
    np.testing.assert_array_equal(draw(root, "torn.png", "ä mask.png"), colour_labels(LABELS))
    np.testing.assert_array_equal(draw(root, "a.png", "gone.png"), IMAGE)
    with pytest.raises(UnreadableFileError) as refused:
        draw(root, "torn.png", "gone.png")
    assert str(refused.value).startswith("torn.png: truncated: ")
    assert "; gone.png: cannot be opened: No such file" in str(refused.value)
    with pytest.raises(UnreadableFileError, match="^neither image nor mask$"):
        draw(root, None, None)


def test_the_file_holds_the_pixels(tmp_path: Path) -> None:
    write_overlay(tmp_path / "page.png", IMAGE)
    write_overlay(tmp_path / "page.png", IMAGE)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "page.png")), IMAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
