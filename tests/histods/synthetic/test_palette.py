"""Labels and their colours: all different, and the same in a palette, in the labels file and in the table."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from histods.labels.label_names import read_labels
from histods.synthetic.palette import LABELS, PALETTE_LABEL, colour_table, palette_mask, write_labels_file

if TYPE_CHECKING:
    from pathlib import Path


def test_colours_are_all_different_and_zero_is_black() -> None:
    table = colour_table()
    assert len({tuple(colour) for colour in table.tolist()}) == len(LABELS) == 55
    assert table[0].tolist() == [0, 0, 0]


def test_the_labels_file_has_every_label_with_its_name_and_colour(tmp_path: Path) -> None:
    write_labels_file(tmp_path / "labels.yml")
    labels = read_labels(tmp_path / "labels.yml")
    assert sorted(labels.names) == sorted(labels.colours) == sorted(LABELS)
    assert [list(labels.colours[label]) for label in sorted(LABELS)] == colour_table().tolist()
    assert len({*labels.names.values()}) == 55


def test_a_palette_mask_keeps_its_labels_but_for_one_corner_and_shows_their_colours() -> None:
    labels = np.arange(55, dtype=np.uint8).repeat(55).reshape(55, 55)
    before = labels.copy()
    with Image.open(io.BytesIO(palette_mask(labels, colour_table()))) as image:
        assert image.mode == "P"
        indices, shown = np.asarray(image), np.asarray(image.convert("RGB"))
    assert np.array_equal(labels, before)
    assert (indices[:8, :8] == PALETTE_LABEL).all()
    assert np.array_equal(np.delete(indices, slice(8), 0), labels[8:])
    assert np.array_equal(shown, colour_table()[indices])
