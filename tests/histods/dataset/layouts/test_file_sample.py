"""A sample of many files keeps pairs together and is the same for any order of the files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import polars as pl
import pytest

from histods.dataset.layouts import pair
from histods.dataset.layouts.file_sample import gather
from histods.dataset.layouts.names import IS_PICTURE, list_files
from tests.histods.dataset.layouts.made_names import found

if TYPE_CHECKING:
    from collections.abc import Sequence


def sample_of(names: Sequence[str]) -> list[str]:
    return gather(list_files(names).filter(IS_PICTURE))["path"].to_list()


@pytest.mark.parametrize("image", ["img/{0}.png", "s{1}/{0}_image.png", "{1}_image_{0}.png", "{2}.tiff-x_{0}.jpg"])
def test_a_sample_of_many_files_holds_both_files_of_a_pair_or_none(image: str) -> None:
    mask = image.replace("img/", "gt/").replace("image", "label").replace(".jpg", "_gt.png")
    keys = [(place, place % 7, hashlib.sha256(b"%d" % (place % 50)).hexdigest()[:8]) for place in range(1500)]
    pairs = [(image.format(*key), mask.format(*key)) for key in keys]
    names = [name for both in pairs for name in both]
    sample = set(gather(list_files(names).filter(IS_PICTURE))["path"])
    assert 100 < len(sample) <= 2000
    assert all((one in sample) == (other in sample) for one, other in pairs)
    pairing = pair(names, found(names))
    assert set(pairing.samples.select("image_path", "mask_path").rows()) == set(pairs)


def test_a_sample_of_files_without_words_is_still_a_sample() -> None:
    names = pl.Series([f"{'-' * (place % 60)}/{'_' * place}.png" for place in range(1001)])
    assert 0 <= len(gather(list_files(names))) <= 2000


def test_few_files_are_all_kept_in_order() -> None:
    names = [f"{number}.png" for number in range(999, -1, -1)]
    assert sample_of(names) == sorted(names)
    assert sample_of([]) == []


def test_the_order_of_the_files_changes_nothing() -> None:
    names = [f"s{number % 9}/{kind}_{number:06d}.png" for number in range(4000) for kind in ("img", "gt")]
    assert sample_of(names) == sample_of(names[::-1])


def test_zeros_before_numbers_and_capitals_do_not_separate_a_pair() -> None:
    names = [f"IMG/{number}.png" for number in range(3000)] + [f"gt/{number:06d}.png" for number in range(3000)]
    numbers: dict[str, set[int]] = {kind: set() for kind in ("IMG", "gt")}
    for path in sample_of(names):
        kind, name = path.removesuffix(".png").split("/")
        numbers[kind].add(int(name))
    assert numbers["IMG"] == numbers["gt"]
    assert 300 < len(numbers["gt"]) < 1000
