"""Benchmark datasets and conventions: exact numbers, distinct masks, and pairs that can be told from names."""

from __future__ import annotations

import io
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import HistodsError
from histods.labels.label_names import read_labels
from histods.synthetic.files import encode
from histods.synthetic.tissue import make_patch
from tests.datasets.benchmark import _distinct_masks, drsk_proportions, make_benchmark
from tests.datasets.conventions import CONVENTIONS, Convention, make_convention


def decode(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_drsks_own_proportions_are_exact() -> None:
    assert drsk_proportions(246_750) == (5, 156_024)


@given(pairs=st.integers(0, 10**7))
def test_proportions_of_any_size_are_drsks_to_the_nearest_pair(pairs: int) -> None:
    orphans, zero_masks = drsk_proportions(pairs)
    assert abs(zero_masks - pairs * 156_024 / 246_750) <= 0.5
    assert 0 <= orphans - pairs * 5 / 246_750 < 1


@pytest.mark.parametrize(
    ("pairs", "orphans", "zero_masks", "per_folder"),
    [(1, 0, 0, None), (1, 1, 1, None), (37, 5, 20, 10), (200, 2, 127, None), (60, 0, 60, 60), (0, 3, 0, None)],
)
def test_a_benchmark_holds_exactly_what_was_asked_for(
    tmp_path: Path, pairs: int, orphans: int, zero_masks: int, per_folder: int | None
) -> None:
    counts = make_benchmark(
        tmp_path / "data",
        pairs=pairs,
        orphans=orphans,
        zero_masks=zero_masks,
        size=64,
        per_folder=per_folder,
        workers=1,
    )
    images = {path.name.removesuffix(".jpg"): path for path in (tmp_path / "data").rglob("*.jpg")}
    masks = {path.name.removesuffix("_mask.png"): path for path in (tmp_path / "data").rglob("*_mask.png")}
    zero = [key for key, path in masks.items() if not decode(path).any()]
    assert (len(images), len(masks), len(zero)) == (counts.images, counts.masks, counts.zero_masks)
    assert (counts.pairs, counts.orphan_masks, counts.zero_masks) == (pairs, orphans, zero_masks)
    assert len(masks.keys() - images.keys()) == orphans
    assert images.keys() <= masks.keys()
    assert all(masks[key].parent == path.parent for key, path in images.items())
    assert set(zero) <= images.keys()
    if per_folder is not None:
        assert all(len(list(folder.glob("*_mask.png"))) <= per_folder for folder in (tmp_path / "data").iterdir())


def test_masks_with_labels_and_images_all_differ_and_zero_masks_are_one_file(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=300, orphans=3, zero_masks=100, size=64, workers=1)
    masks = [decode(path) for path in sorted((tmp_path / "data").glob("*_mask.png"))]
    labelled = [mask.tobytes() for mask in masks if mask.any()]
    assert len(labelled) == len(set(labelled)) == 203
    assert max(mask.max() for mask in masks) < 55
    zero = {path.read_bytes() for path in (tmp_path / "data").glob("*_mask.png") if not decode(path).any()}
    assert len(zero) == 1
    images = list((tmp_path / "data").glob("*.jpg"))
    assert len({path.read_bytes() for path in images}) == 300
    assert {decode(path).shape for path in images} == {(64, 64, 3)}


def test_masks_with_labels_are_about_as_large_as_real_ones(tmp_path: Path) -> None:
    """12 real lung masks of 512x512 take 1,940 bytes on average, 959 to 2,737."""
    make_benchmark(tmp_path / "data", pairs=100, orphans=0, zero_masks=0)
    sizes = [path.stat().st_size for path in (tmp_path / "data").glob("*_mask.png")]
    assert 1500 < np.mean(sizes) < 2500


def test_the_number_of_processes_does_not_change_a_byte(tmp_path: Path) -> None:
    for workers in (1, 2):
        make_benchmark(
            tmp_path / str(workers), pairs=60, orphans=1, zero_masks=30, size=64, per_folder=25, workers=workers
        )
    assert content_of(tmp_path / "1") == content_of(tmp_path / "2")


@given(index=st.integers(0, 1000), size=st.sampled_from([64, 72, 100]))
@settings(max_examples=10, deadline=None)
def test_quickly_made_masks_are_what_pillow_would_have_written(index: int, size: int) -> None:
    files = list(islice(_distinct_masks(make_patch(2, index, size=size).mask), 100))
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    assert len({mask.tobytes() for mask in pixels}) == 100
    again = [encode(mask, ".png") for mask in pixels]
    assert all(mask.shape == (size, size) for mask in pixels)
    # Pillow may choose another filter for the last row, which changes a few bytes.
    assert max(abs(len(one) - len(other)) for one, other in zip(files, again, strict=True)) <= 16


@pytest.mark.parametrize("numbers", [(5, 0, 6, None), (5, -1, 0, None), (5, 0, 5, 0)])
def test_numbers_that_contradict_each_other_are_refused(
    tmp_path: Path, numbers: tuple[int, int, int, int | None]
) -> None:
    pairs, orphans, zero_masks, per_folder = numbers
    with pytest.raises(HistodsError, match="^5 pairs, .* do not fit together; correct the numbers"):
        make_benchmark(
            tmp_path / "data", pairs=pairs, orphans=orphans, zero_masks=zero_masks, per_folder=per_folder
        )
    assert not list(tmp_path.iterdir())


# Conventions.


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_holds_its_pairs_its_other_files_and_nothing_else(tmp_path: Path, name: Convention) -> None:
    truth = make_convention(tmp_path / "data", name, pairs=11)
    assert len(truth.pairs) == 11
    named = {path for pair in truth.pairs for path in pair} | set(truth.others)
    assert content_of(truth.root).keys() == named
    for image, mask in truth.pairs:
        pixels, labels = decode(truth.root / image), decode(truth.root / mask)
        assert pixels.shape[:2] == labels.shape[:2]
        assert len(np.unique(labels.reshape(labels.shape[0] * labels.shape[1], -1), axis=0)) > 1
    assert len({image for image, _ in truth.pairs}) == len({mask for _, mask in truth.pairs}) == 11


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_is_the_same_bytes_again(tmp_path: Path, name: Convention) -> None:
    one, other = (make_convention(tmp_path / part / "data", name, pairs=3, seed=7) for part in "ab")
    assert content_of(one.root) == content_of(other.root)


@pytest.mark.parametrize("name", ["tissue_images", "numbered", "maskbin", "token"])
def test_the_patterns_of_a_convention_pair_its_files(tmp_path: Path, name: Convention) -> None:
    truth = make_convention(tmp_path / "data", name, pairs=12)
    assert truth.image_pattern is not None
    assert truth.mask_pattern is not None
    pattern = re.compile("(.+)".join(re.escape(part) for part in truth.image_pattern.split("{key}")))
    for image, mask in truth.pairs:
        found = pattern.fullmatch(image)
        assert found is not None
        assert mask == truth.mask_pattern.replace("{key}", "%s") % found.groups()


def test_the_pairs_file_names_image_mask_group_and_split(tmp_path: Path) -> None:
    truth = make_convention(tmp_path / "data", "csv", pairs=10)
    assert truth.pairs_file is not None
    lines = truth.pairs_file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "image,mask,group,split"
    assert [tuple(line.split(",")[:2]) for line in lines[1:]] == list(truth.pairs)
    groups = {(line.split(",")[2], line.split(",")[3]) for line in lines[1:]}
    assert len(groups) == 5  # no group on two sides
    assert {split for _, split in groups} == {"train", "test"}


def test_class_colours_are_those_of_the_labels_file(tmp_path: Path) -> None:
    truth = make_convention(tmp_path / "data", "colours", pairs=5)
    assert truth.labels_file is not None
    known = set(read_labels(truth.labels_file).colours.values())
    for _, mask in truth.pairs:
        assert {tuple(colour) for colour in decode(truth.root / mask).reshape(-1, 3).tolist()} <= known


def test_an_unknown_convention_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        HistodsError, match="There is no convention 'zip'; choose one of suffix, folders, tissue_images, "
    ):
        make_convention(tmp_path / "data", "zip")  # type: ignore[arg-type]
