"""Scaled and speckled masks are judged by evidence: what must be found, and what must not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods.checks import Context, judge_all
from histods.run_lengths import count_between, count_specks, find_runs, histogram
from tests.histods.checks.mask_files import regions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]
    Table = Callable[..., pl.DataFrame]

SKIN = [[0, 1], [0, 28], [10, 20], [14, 28], [0, 28, 41], [0, 2, 28, 53], [3, 19, 28], [0, 27, 54], [15, 45], [28]]


def flagged(samples: pl.DataFrame, code: str, context: Context | None = None) -> list[int]:
    """Row numbers of the samples that have a finding of `code`."""
    keys = samples["key"].to_list()
    findings = judge_all(samples, context or Context()).filter(pl.col("code") == code)
    return sorted(keys.index(key) for key in findings["key"])


def scaled(table: Table, label_sets: list[list[int]], context: Context | None = None) -> list[list[int]]:
    """Those of the label sets that are judged scaled."""
    return [
        label_sets[row]
        for row in flagged(table(*({"labels": each} for each in label_sets)), "scaled_mask", context)
    ]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 255],
        [255],
        [0, 65535],
        [0, 127, 255],
        [0, 128, 255],
        [0, 85, 170, 255],
        [0, 85, 255],
        [0, 63, 127, 191, 255],
        [0, 36, 72, 109, 145, 182, 218, 255],
        [0, 32767, 65535],
    ],
)
def test_labels_spread_over_the_full_range_are_scaled(table: Table, labels: list[int]) -> None:
    assert scaled(table, [labels]) == [labels]
    assert scaled(table, [*SKIN, labels]) == [labels]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 60, 120],
        [0, 120, 180],
        [0, 60, 120, 180, 240],
        [0, 100, 200],
        [0, 50, 100],
        [0, 257, 514],
        [0, 257, 7196],
    ],
)
def test_steps_far_beyond_the_other_masks_are_scaled(table: Table, labels: list[int]) -> None:
    assert scaled(table, [*SKIN, labels]) == [labels]


@pytest.mark.parametrize(
    "label_sets",
    [
        SKIN,
        [[0, 28], [10, 20], [14, 28]],
        [[10, 20]],
        [[0, 1], [0, 1], [0, 1], [0, 2], [0, 4], [2, 4], [0, 3, 6]],
        [[0, 15, 255], [0, 1, 255], [0, 7, 255], [0, 12, 255], [0, 255]],
        [[0, 1, 255]],
        [[0, 15, 255]],
        [[0, 64, 255], [0, 3, 255], [0, 100, 149, 255], [0, 17, 255], [0, 128, 255]],
        [[0, 18, 255]],
        [list(range(256))],
        [[0, *range(10, 101, 10)]],
        [[0, 60, 120], [1, 2], [3, 120], [2, 4], [1, 3]],
        [[0], [0]],
    ],
)
def test_real_label_sets_are_not_scaled(table: Table, label_sets: list[list[int]]) -> None:
    assert scaled(table, label_sets) == []


def test_masks_on_a_step_that_another_mask_proves_are_scaled_too(table: Table) -> None:
    sets = [*SKIN, [0, 60, 120], [0, 180], [240], [0, 120, 240]]
    assert scaled(table, sets) == sets[len(SKIN) :]
    assert scaled(table, [*SKIN, [0, 180], [240]]) == []
    assert scaled(table, [*SKIN, [0, 85, 170, 255], [0, 85]]) == [[0, 85, 170, 255], [0, 85]]
    assert scaled(table, [*SKIN, [0, 127, 255], [0, 127], [128]]) == [[0, 127, 255], [0, 127], [128]]


def test_a_whole_dataset_on_steps_that_fill_8_bits_is_scaled(table: Table) -> None:
    for factor, classes in ((17, 15), (63, 4), (25, 10), (127, 2)):
        values = [factor * label for label in range(1, classes + 1)]
        sets = [[0, value] for value in values]
        assert scaled(table, sets) == sets
    assert scaled(table, [[0, 10], [0, 20], [0, 30]]) == []


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([40, 80, 120], 12),
        ([40, 80, 120], 3),
        ([60, 120, 180], 4),
        ([50, 100], 12),
        ([10, 20, 30], 8),
        ([20, 40, 60, 80], 6),
        ([32, 64], 6),
        ([70, 140], 9),
        ([100, 200], 30),
        ([16, 32, 48, 64, 80, 96, 112], 25),  # 4 bits in the upper half of a byte
        ([64, 192], 7),  # 2 bits in the upper quarter, the second class missing
        ([1000, 2000, 3000], 10),  # 16 bits
        ([4096, 8192], 6),
        ([256], 6),
        ([257], 6),
    ],
)
def test_a_dataset_on_one_step_is_scaled(table: Table, values: list[int], counts: int) -> None:
    sets = [[0, *values], *[[0, *values[n % len(values) :]] for n in range(counts - 1)]]
    assert scaled(table, sets) == sets
    assert scaled(table, [*sets * 8, [0, 1]]) == sets * 8


@pytest.mark.parametrize("step", [256, 257])
@pytest.mark.parametrize("labels", [[1, 2], [3, 7], [1, 5, 9], [2, 4, 200], [28, 41]])
def test_labels_in_the_high_byte_are_scaled(table: Table, labels: list[int], step: int) -> None:
    sets = [[0, *(step * label for label in labels)], [0, step * labels[0]]]
    assert scaled(table, sets) == sets


@pytest.mark.parametrize(
    "label_sets",
    [
        [[0, 14, 28]] * 20,  # two of 55 classes
        [[0, 10, 20]] * 20,
        [[0, 28]] * 20,
        [[0, 128]] * 20,  # one label has no neighbour that could show a step
        [[0, 40, 80, 120]] * 2,  # too few masks
        [[0, 50, 100]] * 5,
        [[0, 20, 40, 60]] * 5,
        [[0, 40, 80, 120]] * 10 + [[0, 1], [0, 2], [3, 120]],  # label 120 is real elsewhere
        [[0, 15, 45]] * 10,
        [[0, 5, 10, 15]] * 30,
        [[0, 300, 512]] * 10,
        [[0, 256]] * 5,
    ],
)
def test_labels_that_share_a_step_by_chance_are_not_scaled(table: Table, label_sets: list[list[int]]) -> None:
    assert scaled(table, label_sets) == []


def test_a_stray_label_does_not_hide_what_was_scaled(table: Table) -> None:
    assert scaled(table, [*SKIN, *SKIN, [0, 3, 200], [0, 60, 120]]) == [[0, 60, 120]]
    assert scaled(table, [*SKIN, [0, 3, 255], [0, 255], [255]]) == [[0, 255], [255]]


def test_labels_that_the_user_names_are_not_scaled(table: Table) -> None:
    sets = [[0, 255], [0, 60, 120], [0, 180], [0, 1]]
    assert scaled(table, sets, Context(labels=frozenset({0, 1, 2}))) == sets[:3]
    assert scaled(table, sets, Context(labels=frozenset({0, 1, 255}))) == sets[1:3]
    assert scaled(table, sets, Context(labels=frozenset({0, 60, 120, 180, 255}))) == []


def test_the_factor_is_named(table: Table) -> None:
    samples = table(
        *({"labels": labels} for labels in [*SKIN, [0, 60, 120], [0, 127, 255], list(range(0, 256, 17))])
    )
    messages = judge_all(samples, Context()).filter(pl.col("code") == "scaled_mask")["message"].to_list()
    advice = (
        "; restore the original labels ('histods fix scaled_mask --repair --to DIR' does, "
        "if the factor is proven), or name these in a --labels file if they are meant"
    )
    assert messages == [
        "labels 0, 60, 120 look like 0, 1, 2 times 60" + advice,
        "labels 0, 127, 255 look like 0, 1, 2 times 127.5" + advice,
        "labels 0, 17, 34, 51, 68, 85, 102, 119 and 8 more look like 0, 1, 2, 3, 4, 5, 6, 7 and 8 more times 17"
        + advice,
    ]


def test_damaged_masks_are_scaled_only_over_the_full_range(table: Table) -> None:
    jpeg = {"mask_format": "jpeg", "mask_path": "m.jpg"}
    speckled = {"runs": 1000, "specks": 700}
    for damage in (jpeg, speckled):
        rows = [{"labels": labels} for labels in SKIN]
        full, steps = {"labels": [0, 255], **damage}, {"labels": [0, 60, 120], **damage}
        assert flagged(table(*rows, full, steps), "scaled_mask") == [len(SKIN)]


def test_pixels_off_the_palette_are_not_a_full_range(table: Table) -> None:
    samples = table({"labels": [0, 65535], "mask_kind": "rgb", "off_palette": 9})
    assert flagged(samples, "scaled_mask", Context(labels=frozenset({0, 1}))) == []


def drawn(seed: int, labels: tuple[int, ...], size: int = 128) -> Mask:
    """Ellipses of the given labels on 0."""
    random = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    for label in labels * 2:
        centre, axes = random.integers(0, size, 2).tolist(), random.integers(size // 8, size // 3, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(random.integers(0, 180)), 0, 360, label, -1)
    return mask


def jpeg(mask: Mask, quality: int) -> Mask:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(mask: Mask, factor: float, resampling: Image.Resampling) -> Mask:
    size = round(mask.shape[0] * factor)
    return np.asarray(Image.fromarray(mask).resize((size, size), resampling))


def frayed(mask: Mask) -> Mask:
    """Each pixel from up to 2 pixels away."""
    size = mask.shape[0]
    moves = np.random.default_rng(0).integers(-2, 3, (2, size, size))
    rows, columns = np.clip(np.indices((size, size)) + moves, 0, size - 1)
    moved: Mask = mask[rows, columns]
    return moved


def outlined(mask: Mask) -> Mask:
    """Each region within a line of label 60, as datasets of nuclei have it."""
    square = np.ones((3, 3), np.uint8)
    edges = cv2.dilate(mask, square) != cv2.erode(mask, square)
    return np.where(edges, np.uint8(60), mask)


def measured(masks: list[Mask], table: Table) -> pl.DataFrame:
    rows = []
    for mask in masks:
        runs = find_runs(mask)
        labels, pixels = histogram(runs)
        counts = {"runs": len(runs.lengths), "specks": count_specks(runs), "between": count_between(runs)}
        rows.append(counts | {"labels": labels.tolist(), "pixels": pixels.tolist()})
    return table(*rows)


SOUND = [
    drawn(seed, labels) for seed in range(3) for labels in ((28,), (4,), (3, 28), (10, 20, 43), (1, 2, 3, 4, 5))
]


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda mask, quality=quality: jpeg(mask, quality) for quality in (95, 75, 50)),
        lambda mask: resized(mask, 0.5, Image.Resampling.BILINEAR),
        lambda mask: resized(mask, 2, Image.Resampling.BILINEAR),
        lambda mask: resized(mask, 1.3, Image.Resampling.BICUBIC),
        lambda mask: resized(resized(mask, 0.5, Image.Resampling.BILINEAR), 2, Image.Resampling.BILINEAR),
    ],
    ids=["jpeg 95", "jpeg 75", "jpeg 50", "halved", "enlarged", "bicubic", "there and back"],
)
def test_masks_after_lossy_storage_or_resampling_are_speckled(
    table: Table, damage: Callable[[Mask], Mask]
) -> None:
    masks = [damage(mask) for mask in SOUND]
    assert flagged(measured(masks, table), "speckled_mask") == list(range(len(masks)))
    few = [damage(mask) for mask in SOUND[:5]]
    assert flagged(measured([*SOUND, *few], table), "speckled_mask") == list(range(len(SOUND), len(SOUND) + 5))


def soft(mask: Mask, sigma: float) -> Mask:
    """Foreground as a probability of 0 to 255, as networks give it."""
    return cv2.GaussianBlur(np.where(mask > 0, np.uint8(255), np.uint8(0)), (0, 0), sigma).astype(np.uint8)


@pytest.mark.parametrize(
    "soften",
    [
        lambda seed: soft(regions(seed, (0, 1), smooth=4), 3),
        lambda seed: soft(regions(seed, (0, 1)), 5),
        lambda seed: soft(regions(seed, (0, 1, 2), smooth=3), 1.5),
        lambda seed: soft(drawn(seed, (1, 2, 3), 96), 8),
        lambda seed: jpeg(soft(regions(seed, (0, 1), smooth=4), 2), 90),
    ],
    ids=["blurred", "more", "small regions", "ellipses", "then JPEG"],
)
def test_soft_masks_are_speckled_however_short_their_runs_are(table: Table, soften: Callable[[int], Mask]) -> None:
    masks = [soften(seed) for seed in range(3)]
    samples = measured(masks, table)
    assert (samples["pixels"].list.sum() < 1.6 * samples["runs"]).any()
    assert flagged(samples, "speckled_mask") == [0, 1, 2]


@pytest.mark.parametrize(
    "sound",
    [
        lambda mask: mask,
        frayed,
        outlined,
        lambda mask: resized(mask, 0.5, Image.Resampling.NEAREST),
        lambda mask: resized(mask, 1.7, Image.Resampling.NEAREST),
        lambda mask: np.random.default_rng(int(mask.sum())).integers(0, 9, mask.shape).astype(np.uint8),
    ],
    ids=["as drawn", "frayed", "outlined", "halved to nearest", "enlarged to nearest", "noise"],
)
def test_sound_masks_are_not_speckled(table: Table, sound: Callable[[Mask], Mask]) -> None:
    assert flagged(measured([sound(mask) for mask in SOUND], table), "speckled_mask") == []


def threads(seed: int, labels: tuple[int, ...], number: int, width: int) -> Mask:
    """Curved nerves or vessels of these labels over four kinds of tissue."""
    random = np.random.default_rng(seed)
    mask = regions(seed, (0, 1, 2, 3), height=256, width=256, smooth=20)
    place = np.linspace(0, 1, 60)[:, None]
    for index in range(number):
        points = random.random((5, 2)) * 256
        weights = [(1 - place) ** (4 - k) * place**k * c for k, c in enumerate((1, 4, 6, 4, 1))]
        curve = sum(weight * point for weight, point in zip(weights, points, strict=True))
        cv2.polylines(mask, [np.asarray(curve).astype(np.int32)], False, labels[index % len(labels)], width)
    return mask


def dots(seed: int, labels: tuple[int, ...], number: int, radius: int) -> Mask:
    """Small nuclei of these labels over four kinds of tissue."""
    random = np.random.default_rng(seed)
    mask = regions(seed, (0, 1, 2, 3), height=256, width=256, smooth=20)
    for index in range(number):
        cv2.circle(mask, random.integers(0, 256, 2).tolist(), radius, labels[index % len(labels)], -1)
    return mask


def bordered(seed: int, labels: tuple[int, ...], border: int, width: int) -> Mask:
    """Regions with a border of a label of its own between them."""
    mask = regions(seed, labels, height=256, width=256, smooth=10)
    square = np.ones((width + 1, width + 1), np.uint8)
    return np.where(cv2.dilate(mask, square) != cv2.erode(mask, square), np.uint8(border), mask)


THIN: dict[str, Callable[[int], Mask]] = {
    "one nerve class": lambda seed: threads(seed, (5,), 12, 1),
    "four kinds of vessels, 1 px": lambda seed: threads(seed, (5, 6, 7, 8), 24, 1),
    "four kinds of vessels, 2 px": lambda seed: threads(seed, (5, 6, 7, 8), 24, 2),
    "ten kinds of vessels, 1 px": lambda seed: threads(seed, tuple(range(5, 15)), 60, 1),
    "ten kinds of vessels, 3 px": lambda seed: threads(seed, tuple(range(5, 15)), 60, 3),
    "many dots": lambda seed: dots(seed, (5, 6, 7, 8), 1500, 1),
    "few dots": lambda seed: dots(seed, (5, 6, 7, 8, 9), 60, 2),
    "borders of 1 px": lambda seed: bordered(seed, (0, 1, 2, 3), 9, 1),
    "borders of 3 px": lambda seed: bordered(seed, (0, 1, 2, 3), 255, 3),
    "borders of label 0": lambda seed: bordered(seed, (1, 2, 3, 4, 5, 6), 0, 1),
}


@pytest.mark.parametrize("draw", THIN.values(), ids=THIN)
def test_thin_structures_are_not_speckled(table: Table, draw: Callable[[int], Mask]) -> None:
    masks = [draw(seed) for seed in range(5)]
    assert flagged(measured(masks, table), "speckled_mask") == []
    damaged = [jpeg(mask, 90) for mask in SOUND[:3]]
    assert flagged(measured([*masks, *damaged], table), "speckled_mask") == [5, 6, 7]


def test_the_share_of_specks_is_named(table: Table) -> None:
    samples = table({"labels": list(range(29)), "pixels": [9000, *[20] * 27, 7000], "runs": 1000, "specks": 400})
    assert judge_all(samples, Context())["message"].item() == (
        "400 of 1000 runs are specks between two other labels, as resampling or lossy storage leaves them; "
        "export the mask again with nearest-neighbour resampling as PNG, or see what "
        "'histods fix speckled_mask --repair --remedy specks --to DIR' would remove"
    )


def test_of_a_gif_the_greys_of_its_palette_are_named(table: Table) -> None:
    samples = table(*[{"labels": [0, 255], "mask_format": "gif", "mask_kind": "palette"}] * 6)
    messages = judge_all(samples, Context()).filter(code="scaled_mask")["message"]
    assert len(messages) == 6
    assert all(
        text.startswith("greys of the GIF's palette: labels 0, 255 look like 0, 1 times") for text in messages
    )
