"""Counts of colours add up, whatever the pixels are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from histods.colours.colour_counts import MAX_COLOURS, TRANSLUCENT, count_colours, count_indices, pack, unpack
from histods.run_lengths import count_between, count_specks, find_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
few = st.sampled_from([0, TRANSLUCENT, 0xFFFFFF, 0x808080, 0xFF0000, 0x7F0000, 0x00FF00])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint32, shapes, elements=few | st.integers(0, 1 << 24)))
def test_counts_are_those_of_the_pixels(packed: NDArray[np.uint32]) -> None:
    counts = count_colours(packed)
    colours, pixels = np.unique(packed, return_counts=True)
    expected = dict(zip(colours.tolist(), pixels.tolist(), strict=True))
    assert counts.total == len(expected)
    assert len(counts.colours) == min(len(expected), MAX_COLOURS)
    assert all(expected[colour] == number for colour, number in zip(counts.colours, counts.pixels, strict=True))
    assert (np.diff(counts.pixels) <= 0).all()
    assert ((counts.blended >= 0) & (counts.blended <= counts.pixels)).all()
    assert (counts.runs <= counts.pixels).all()
    if counts.total <= MAX_COLOURS:
        assert counts.pixels.sum() == packed.size
        assert counts.runs.sum() == len(find_runs(packed).lengths)
        assert counts.border.sum() == 2 * sum(packed.shape)
    opaque = counts.colours[counts.colours != TRANSLUCENT]
    np.testing.assert_array_equal(pack(unpack(opaque).astype(np.uint8)), opaque)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, shapes), hnp.arrays(np.uint8, st.tuples(st.integers(0, 256), st.just(3))))
def test_palette_entries_are_those_in_use(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
    counts = count_indices(indices, palette)
    assert counts.indices is not None
    assert sorted(counts.indices.tolist()) == np.unique(indices).tolist()
    assert counts.pixels.sum() == indices.size
    for index, colour in zip(counts.indices, unpack(counts.colours), strict=True):
        assert colour.tolist() == (palette[index].tolist() if index < len(palette) else [0, 0, 0])


def test_blends_lie_between_their_neighbours_along_rows_or_columns() -> None:
    row = np.array([[0, 0, 0, 0x800000, 0xFF0000, 0xFF0000], [0, 0, 0, 0x0000FF, 0xFF0000, 0xFF0000]], np.uint32)
    expected = {0: 0, 0x800000: 1, 0xFF0000: 0, 0x0000FF: 0}
    counts = count_colours(row[:1])
    assert dict(zip(counts.colours.tolist(), counts.blended.tolist(), strict=True)) == {
        0: 0,
        0x800000: 1,
        0xFF0000: 0,
    }
    for packed in (row, row[::-1]):
        counts = count_colours(packed)
        assert dict(zip(counts.colours.tolist(), counts.blended.tolist(), strict=True)) == expected
    counts = count_colours(np.ascontiguousarray(row[:1].T))
    assert dict(zip(counts.colours.tolist(), counts.blended.tolist(), strict=True))[0x800000] == 1


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 5)) | hnp.arrays(np.uint16, shapes))
def test_specks_between_are_specks(mask: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    runs = find_runs(mask)
    labels, lengths = runs.labels.tolist(), runs.lengths.tolist()
    expected = sum(
        lengths[place] <= 3
        and min(labels[place - 1], labels[place + 1]) < labels[place] < max(labels[place - 1], labels[place + 1])
        for place in range(1, len(labels) - 1)
    )
    assert count_between(runs) == expected <= count_specks(runs)
