"""Palettes: indices are labels where all masks agree on what they mean, and are told where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.histods.checks.mask_files import palette_image, palette_tiff, pillow, regions, vips

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[Any]
    Judge = Callable[..., dict[str, dict[str, str]]]

WHITE, BLACK, RED, GREEN, BLUE = (255, 255, 255), (0, 0, 0), (220, 0, 0), (0, 160, 0), (0, 0, 255)
COLOURS = [WHITE, RED, GREEN, BLUE]
SETS = [(0, 1, 2, 3), (1, 0, 2), (2, 3, 0), (3, 1, 0), (0, 2), (1, 2, 3)]
TABLE = np.array(COLOURS, dtype=np.uint8)


def by_frequency(labels: Pixels, table: Pixels = TABLE) -> Image.Image:
    """Entries numbered by how many pixels they have, as pngquant does."""
    used, counts = np.unique(labels, return_counts=True)
    order = used[np.argsort(-counts, kind="stable")]
    place = np.zeros(256, dtype=np.uint8)
    place[order] = np.arange(order.size)
    return palette_image(place[labels], [tuple(table[label].tolist()) for label in order])


def by_first_use(labels: Pixels, table: Pixels = TABLE) -> Image.Image:
    """Entries numbered in the order in which they occur, as GIMP and many GIF writers do."""
    used, first = np.unique(labels, return_index=True)
    order = used[np.argsort(first)]
    place = np.zeros(256, dtype=np.uint8)
    place[order] = np.arange(order.size)
    return palette_image(place[labels], [tuple(table[label].tolist()) for label in order])


def compacted(labels: Pixels, table: Pixels = TABLE) -> Image.Image:
    """Entries without those that are not used, in their order: optimised as OptiPNG and Pillow's GIF writer do."""
    used = np.unique(labels)
    place = np.zeros(256, dtype=np.uint8)
    place[used] = np.arange(used.size)
    return palette_image(place[labels], [tuple(table[label].tolist()) for label in used])


OPTIMISERS: dict[str, Callable[[Pixels], bytes]] = {
    "quantize, median cut": lambda labels: pillow(Image.fromarray(TABLE[labels]).quantize(16)),
    "quantize, octree": lambda labels: pillow(
        Image.fromarray(TABLE[labels]).quantize(8, method=Image.Quantize.FASTOCTREE)
    ),
    "adaptive": lambda labels: pillow(
        Image.fromarray(TABLE[labels]).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    ),
    "libvips": lambda labels: vips(TABLE[labels], ".png", palette=True, Q=100, dither=0),
    "by frequency": lambda labels: pillow(by_frequency(labels)),
    "by first use": lambda labels: pillow(by_first_use(labels)),
    "compacted": lambda labels: pillow(compacted(labels)),
    "BMP": lambda labels: pillow(by_frequency(labels), "BMP"),
    "TIFF": lambda labels: pillow(by_first_use(labels), "TIFF"),
    "4 bits": lambda labels: pillow(by_first_use(labels), bits=4),
    "GIF": lambda labels: pillow(by_frequency(labels), "GIF"),
    "GIF of RGB": lambda labels: pillow(Image.fromarray(TABLE[labels]), "GIF"),
    "GIF by libvips": lambda labels: vips(TABLE[labels], ".gif", dither=0, effort=1),
}


@pytest.mark.parametrize("optimise", OPTIMISERS.values(), ids=OPTIMISERS)
def test_palettes_numbered_anew_in_each_file_are_told(judge_files: Judge, optimise: Any) -> None:
    masks = {f"t{number}.png": optimise(regions(number, labels)) for number, labels in enumerate(SETS)}
    findings = judge_files(masks)
    told = [bool({"palettes_differ", "not_an_index_mask"} & set(codes)) for codes in findings.values()]
    assert all(told), findings


SOUND: dict[str, Callable[[Pixels], bytes]] = {
    "white ground": lambda labels: pillow(palette_image(labels, COLOURS)),
    "trimmed": lambda labels: pillow(palette_image(labels, COLOURS[: int(labels.max()) + 1])),
    "filled with black": lambda labels: pillow(
        palette_image(labels, COLOURS[: int(labels.max()) + 1] + [BLACK] * (10 + int(labels[0, 0])))
    ),
    "TIFF": lambda labels: palette_tiff(labels, COLOURS),
    "BMP": lambda labels: pillow(palette_image(labels, COLOURS), "BMP"),
    "4 bits": lambda labels: pillow(palette_image(labels, COLOURS), bits=4),
    "no colours": lambda labels: pillow(palette_image(labels, [BLACK])),
    "greys before colours": lambda labels: pillow(palette_image(labels, [BLACK, WHITE, (128, 128, 128), RED])),
    "greys before colours, BMP": lambda labels: pillow(
        palette_image(labels, [(128, 128, 128), WHITE, BLACK, GREEN]), "BMP"
    ),
    "white and grey alone": lambda labels: pillow(
        palette_image(np.array([0, 3, 1, 2], np.uint8)[labels], [BLACK, WHITE, (128, 128, 128), RED])
    ),
    "white, black, colours": lambda labels: pillow(palette_image(labels, [WHITE, BLACK, RED, GREEN])),
    "white, black, colours, trimmed": lambda labels: pillow(
        palette_image(labels, [WHITE, (60, 60, 60), BLACK, RED][: int(labels.max()) + 1])
    ),
    "white, black, colours, TIFF": lambda labels: palette_tiff(labels, [WHITE, (90, 90, 90), BLACK, BLUE]),
    "greys upwards": lambda labels: pillow(palette_image(labels, [(grey,) * 3 for grey in (0, 85, 170, 255)])),
    "greys as labels": lambda labels: pillow(palette_image(labels, [(grey,) * 3 for grey in range(8)])),
}


@pytest.mark.parametrize("encode", SOUND.values(), ids=SOUND)
def test_one_palette_for_all_masks_is_sound(judge_files: Judge, encode: Any) -> None:
    masks = {f"t{number}.png": encode(regions(number, labels)) for number, labels in enumerate([*SETS, (0,)])}
    findings = judge_files(masks)
    assert [set(codes) - {"suffix_mismatch"} for codes in findings.values()] == [set()] * len(masks)


def test_a_colour_profile_s_rounding_is_no_other_palette(judge_files: Judge) -> None:
    moved = [(250, 253, 255), (216, 4, 2), (4, 157, 3), (3, 0, 250)]
    masks = {
        f"t{n}.png": pillow(palette_image(regions(n, (0, 1, 2, 3)), moved if n % 2 else COLOURS)) for n in range(6)
    }
    assert list(judge_files(masks).values()) == [{}] * 6


def test_all_masks_are_told_where_no_palette_was_designed(judge_files: Judge) -> None:
    """Three masks of four happen to be numbered alike: they may be the wrong ones."""
    masks = {f"t{n}.png": pillow(palette_image(regions(n, (0, 1, 2)), [WHITE, RED, GREEN])) for n in range(3)}
    masks["t3.png"] = pillow(palette_image(regions(3, (0, 1, 2)), [WHITE, GREEN, RED]))
    assert all("palettes_differ" in codes for codes in judge_files(masks).values())


def test_one_mask_of_another_palette_is_told_alone(judge_files: Judge) -> None:
    masks = {f"t{n}.png": pillow(palette_image(regions(n, (0, 1, 2, 3)), COLOURS)) for n in range(8)}
    masks["t8.png"] = pillow(palette_image(regions(8, (0, 1, 2)), [WHITE, GREEN, RED]))
    findings = judge_files(masks)
    assert [name for name, codes in findings.items() if codes] == ["t8.png"]
    assert findings["t8.png"]["palettes_differ"].startswith(
        "palette index 1 is #00a000 here and #dc0000 in 8 other masks, so that palette indices mean different "
    )


@pytest.mark.parametrize(
    "greys",
    [(0, 255, 128), (255, 0, 128), (128, 0, 255), (0, 170, 85, 255), (7, 0, 28), (0, 2, 1, 3)],
)
@pytest.mark.parametrize("tint", [0, 3])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_greys_that_go_up_and_down_prove_that_indices_are_no_labels(
    judge_files: Judge, greys: tuple[int, ...], kind: str, tint: int
) -> None:
    colours = [(min(grey + tint, 255), grey, grey) for grey in greys]
    image = palette_image(regions(1, tuple(range(len(greys)))), colours)
    findings = judge_files({"t.png": pillow(image, kind)})["t.png"]
    assert "while their greys go up and down" in findings["not_an_index_mask"]


BLACK_ON_WHITE: dict[str, Callable[[Pixels], bytes]] = {
    "quantize": lambda labels: pillow(Image.fromarray(np.dstack([labels * 255] * 3)).quantize(2)),
    "by hand": lambda labels: pillow(palette_image(1 - labels, [WHITE, BLACK])),
    "1 bit": lambda labels: pillow(palette_image(1 - labels, [WHITE, BLACK]), bits=1),
    "BMP": lambda labels: pillow(palette_image(1 - labels, [WHITE, BLACK]), "BMP"),
    "TIFF": lambda labels: palette_tiff(1 - labels, [WHITE, BLACK]),
    "almost grey": lambda labels: pillow(palette_image(1 - labels, [(254, 255, 251), (3, 0, 1)])),
    "grey on white": lambda labels: pillow(palette_image(1 - labels, [WHITE, (90, 90, 90)])),
    "three greys": lambda labels: pillow(palette_image(2 - labels, [WHITE, (128, 128, 128), BLACK])),
}


@pytest.mark.parametrize("encode", BLACK_ON_WHITE.values(), ids=BLACK_ON_WHITE)
def test_palettes_from_white_to_black_are_told(judge_files: Judge, encode: Any) -> None:
    masks = {f"t{number}.png": encode(regions(number, (0, 1))) for number in range(4)}
    assert all("inverted_mask" in codes for codes in judge_files(masks).values())


def test_a_mask_that_is_white_all_over_is_told_with_the_others(judge_files: Judge) -> None:
    masks = {f"t{n}.png": pillow(palette_image(regions(n, (0, 1)), [WHITE, BLACK])) for n in range(3)}
    masks["t3.png"] = pillow(palette_image(np.zeros((60, 80), np.uint8), [WHITE]))
    assert all("inverted_mask" in codes for codes in judge_files(masks).values())
    assert judge_files({"t3.png": masks["t3.png"]}) == {"t3.png": {}}


def test_colours_of_a_labels_file_settle_which_is_the_background(judge_files: Judge) -> None:
    masks = {f"t{n}.png": pillow(palette_image(regions(n, (0, 1)), [WHITE, BLACK])) for n in range(3)}
    assert list(judge_files(masks, {0: WHITE, 1: BLACK}).values()) == [{}] * 3
    refused = judge_files(masks, {0: BLACK, 1: WHITE})
    assert all("not_an_index_mask" in codes for codes in refused.values())


LABELS = dict(enumerate(COLOURS))


@pytest.mark.parametrize(
    ("colours", "contradicts"),
    [
        (COLOURS, False),
        (COLOURS[:3], False),
        ([WHITE, RED, (1, 2, 3), (4, 5, 6)], False),  # unknown colours, none of another label
        ([WHITE, RED, GREEN, WHITE], False),  # filled up: white is label 0's, and index 0 has it
        ([RED, WHITE, GREEN, BLUE], True),
        ([RED, WHITE, (1, 2, 3), (4, 5, 6)], True),  # an unknown colour beside it changes nothing
        ([(1, 2, 3), WHITE, GREEN, BLUE], True),
        ([WHITE, RED, BLUE, (9, 9, 9)], True),
        ([(9, 9, 9), (8, 8, 8), (7, 7, 7), RED], True),
        ([(9, 9, 9), WHITE, WHITE, WHITE], True),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_an_index_with_another_label_s_colour_is_refused(
    judge_files: Judge, colours: list[tuple[int, int, int]], contradicts: bool, kind: str
) -> None:
    mask = pillow(palette_image(regions(1, (0, 1, 2, 3)), colours), kind)
    findings = judge_files({"t.png": mask}, LABELS)["t.png"]
    assert ("not_an_index_mask" in findings) == contradicts
    assert not contradicts or "has the colour of label" in findings["not_an_index_mask"]
