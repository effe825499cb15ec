"""Polygons and run lengths become the pixels that other programs find, but for centres exactly on an edge."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio.errors
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from histods.annotations import rasterise as module
from histods.annotations.rasterise import expand, parse_counts, patches, rasterise
from histods.annotations.shapes import NotDrawableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.annotations.rasterise import Patch
    from histods.annotations.shapes import Polygon

HEIGHT, WIDTH = 90, 120
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
CENTRES = shapely.points(COLUMNS + 0.5, ROWS + 0.5)


def whole(patch: Patch | None, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    if patch is not None:
        part = mask[patch.top :, patch.left :][: patch.inside.shape[0], : patch.inside.shape[1]]
        assert part.shape == patch.inside.shape
        part |= patch.inside
    return mask


def drawn(*rings: object) -> NDArray[np.bool_]:
    return whole(rasterise(tuple(np.array(ring, np.float64) for ring in rings), HEIGHT, WIDTH))


def make_star(random: np.random.Generator, *, hole: bool) -> Polygon:
    """A star-shaped polygon, some of it out of the image, perhaps with a hole of the same form."""
    angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 40)))
    form = np.column_stack([np.cos(angles), np.sin(angles)]) * random.uniform(0.3, 1, (len(angles), 1))
    centre, radius = random.uniform(-10, 130, 2), random.choice([0.7, 4, 20, 80])
    outer = centre + form * radius
    return (outer, centre + form * radius * 0.4) if hole else (outer,)


def by_gdal(polygon: shapely.Polygon) -> NDArray[np.bool_]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        mask = rasterio.features.rasterize([(polygon, 1)], out_shape=(HEIGHT, WIDTH), dtype="uint8")
    return np.asarray(mask, np.bool_)


def test_polygons_have_the_pixels_that_shapely_and_gdal_find() -> None:
    random = np.random.default_rng(0)
    pixels = 0
    for number in range(150):
        rings = make_star(random, hole=number % 2 == 0)
        polygon = shapely.Polygon(rings[0], list(rings[1:]))
        if not polygon.is_valid:  # a hole that is not inside
            continue
        found = whole(rasterise(rings, HEIGHT, WIDTH))
        pixels += int(found.sum())
        assert np.array_equal(found, shapely.contains(polygon, CENTRES))
        assert np.array_equal(found, by_gdal(polygon))
    assert pixels > 50_000


def test_with_corners_on_centres_only_pixels_on_an_edge_differ() -> None:
    """Centres on an edge are ties, which every program breaks by a rule of its own."""
    random = np.random.default_rng(1)
    pixels = ties = 0
    for number in range(40):
        rings = tuple(np.round(ring * 2) / 2 for ring in make_star(random, hole=number % 2 == 0))
        polygon = shapely.Polygon(rings[0], list(rings[1:]))
        found = whole(rasterise(rings, HEIGHT, WIDTH))
        edge = shapely.distance(polygon.boundary, CENTRES) < 1e-9
        inside = _even_odd(rings)
        assert np.array_equal(found[~edge], inside[~edge])
        if polygon.is_valid:
            assert np.array_equal(found[~edge], by_gdal(polygon)[~edge])
        pixels += int(found.sum())
        ties += int((found != inside).sum())
    assert 0 < ties < pixels / 50


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_pycocotools_differs_only_at_the_outline() -> None:
    """It traces polygons on a grid of fifths of a pixel."""
    random = np.random.default_rng(0)
    pixels = others = 0
    for _ in range(100):
        rings = make_star(random, hole=False)
        found = whole(rasterise(rings, HEIGHT, WIDTH))
        runs = coco_masks.merge(coco_masks.frPyObjects([rings[0].ravel().tolist()], HEIGHT, WIDTH))
        differs = found != (coco_masks.decode(runs) == 1)
        pixels, others = pixels + int(found.sum()), others + int(differs.sum())
        assert (shapely.distance(shapely.Polygon(rings[0]).boundary, CENTRES[differs]) < 0.3).all()
    assert others < pixels / 100


def _even_odd(rings: Polygon) -> NDArray[np.bool_]:
    """Whether each centre is inside an odd number of windings, by the angle that the ring turns around it."""
    total = np.zeros((HEIGHT, WIDTH))
    for ring in rings:
        around = [np.arctan2(y - ROWS - 0.5, x - COLUMNS - 0.5) for x, y in ring]
        for one, other in zip(around, [*around[1:], around[0]], strict=True):
            total += (other - one + np.pi) % (2 * np.pi) - np.pi
    inside: NDArray[np.bool_] = np.round(total / (2 * np.pi)).astype(int) % 2 == 1
    return inside


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 4 * WIDTH), st.integers(0, 4 * HEIGHT)), min_size=1, max_size=6, unique=True
    )
)
def test_polygons_that_share_edges_share_no_pixel_and_leave_no_gap(cuts: list[tuple[int, int]]) -> None:
    """Corners lie on quarters of a pixel, so that many edges run through centres."""
    corners = shapely.MultiPoint(
        [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT), *((x / 4, y / 4) for x, y in cuts)]
    )
    times = np.zeros((HEIGHT, WIDTH), int)
    for triangle in shapely.delaunay_triangles(corners).geoms:
        times += drawn(shapely.get_coordinates(triangle))
    assert (times == 1).all()


@settings(max_examples=60, deadline=None)
@given(
    ring=st.lists(st.tuples(st.floats(-200, 300), st.floats(-200, 300)), min_size=3, max_size=12),
    reverse=st.booleans(),
    start=st.integers(0, 11),
    close=st.booleans(),
)
def test_direction_start_and_closing_of_a_ring_do_not_matter(
    ring: list[tuple[float, float]], *, reverse: bool, start: int, close: bool
) -> None:
    other = ring[start % len(ring) :] + ring[: start % len(ring)]
    other = other[::-1] if reverse else other
    assert np.array_equal(drawn(ring), drawn([*other, other[0]] if close else other))


def test_a_pixel_is_the_square_between_whole_numbers() -> None:
    one = drawn([(3, 2), (4, 2), (4, 3), (3, 3)])
    assert np.argwhere(one).tolist() == [[2, 3]]
    assert drawn([(3.6, 2), (4.4, 2), (4.4, 3), (3.6, 3)]).sum() == 0  # between two centres
    assert np.argwhere(drawn([(2.5, 2.5), (4.5, 2.5), (4.5, 3.5), (2.5, 3.5)])).tolist() == [[2, 2], [2, 3]]


def test_holes_are_empty_and_what_is_enclosed_twice_is_too() -> None:
    square, inner = [(0, 0), (9, 0), (9, 9), (0, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)]
    assert drawn(square, inner).sum() == drawn(square, inner[::-1]).sum() == 81 - 9
    bow_tie = [(0, 0), (10, 10), (10, 0), (0, 10)]
    assert drawn(bow_tie).sum() == pytest.approx(50, abs=5)
    twice = [*square, *square]
    assert not drawn(twice).any()


def test_parts_out_of_the_image_are_cut_and_far_corners_do_no_harm() -> None:
    assert drawn([(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]).all()
    assert not drawn([(-50, 1), (-1, 1), (-1, 20)]).any()
    assert not drawn([(200, 1), (300, 1), (300, 20)]).any()
    assert rasterise((np.array([(1.0, 1), (5, 5), (9, 9)]),), HEIGHT, WIDTH) is None  # no area


def test_edges_are_crossed_in_parts_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rings = make_star(np.random.default_rng(4), hole=True), make_star(np.random.default_rng(9), hole=False)
    before = [rasterise(one, HEIGHT, WIDTH) for one in rings]
    monkeypatch.setattr(module, "_MAX_CROSSINGS", 7)
    for one, expected in zip(rings, before, strict=True):
        assert np.array_equal(whole(rasterise(one, HEIGHT, WIDTH)), whole(expected))


# --- run lengths -----------------------------------------------------------------------------------------------


def random_mask(random: np.random.Generator) -> NDArray[np.uint8]:
    height, width = random.integers(1, 60, 2)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(random.integers(0, 5)):
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : top + 20, left : left + 20] ^= 1
    return mask ^ np.uint8(random.random() < 0.2)


def test_run_lengths_are_those_of_pycocotools_compressed_or_not() -> None:
    random = np.random.default_rng(2)
    for _ in range(300):
        mask = random_mask(random)
        height, width = mask.shape
        text = coco_masks.encode(np.asfortranarray(mask))["counts"].decode()
        column_major = mask.T.reshape(-1)
        bounds = np.flatnonzero(np.diff(column_major, prepend=0, append=column_major[-1] ^ 1))
        plain = np.diff(bounds, prepend=0).tolist()
        for counts in (text, plain):
            found = expand(parse_counts(counts, height, width))
            assert np.array_equal(whole(found, height, width), mask == 1)


def test_long_runs_are_decompressed() -> None:
    mask = np.zeros((3000, 2000), np.uint8)
    mask[1500:, 1000:1900] = 1
    text = coco_masks.encode(np.asfortranarray(mask))["counts"].decode()
    assert np.array_equal(whole(expand(parse_counts(text, 3000, 2000)), 3000, 2000), mask == 1)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([3, 4], "do not add up"),
        ([13], "do not add up"),
        ([1 << 62, 1 << 62], "do not add up"),
        ([-1, 13], "from 0"),
        ([[12]], "from 0"),
        ([1 << 70], "not whole numbers"),
        ([0.5, 11.5], "not whole numbers"),
        ([1e300, 12.0], "not whole numbers"),
        ([float("nan"), 12.0], "not whole numbers"),
        ([float("-inf"), 12.0], "not whole numbers"),
        ([], "do not add up"),
        (["a"], "not whole numbers"),
        (None, "not whole numbers"),
        ({"a": 1}, "not whole numbers"),
        ("\x00", "not whole numbers"),
        ("é", "not whole numbers"),
        ("o" * 50, "not whole numbers"),
        ("o", "not whole numbers"),
        ("", "do not add up"),
    ],
)
def test_wrong_run_lengths_are_refused(counts: object, reason: str) -> None:
    with pytest.raises(NotDrawableError, match=reason):
        parse_counts(counts, 3, 4)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_any_text_is_read_or_refused(text: str, height: int, width: int) -> None:
    try:
        runs = parse_counts(text, height, width)
    except NotDrawableError:
        return
    assert whole(expand(runs), height, width).sum() == runs.counts[1::2].sum()


def test_a_shape_of_several_polygons_is_their_union() -> None:
    polygons = [
        (np.array([(0.0, 0), (8, 0), (8, 8), (0, 8)]),),
        (np.array([(4.0, 4), (12, 4), (12, 12), (4, 12)]),),
    ]
    found = np.zeros((HEIGHT, WIDTH), np.bool_)
    for patch in patches(polygons, None, HEIGHT, WIDTH):
        found |= whole(patch)
    assert found.sum() == 64 + 64 - 16
