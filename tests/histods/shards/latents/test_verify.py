"""Every byte of latents is compared: any flipped bit is found, and the sample that it belongs to is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.shards.base import read_index, write_index
from histods.shards.latents.verify import add_up, check_latents, training_split
from tests.histods.shards.latents.made import PLAIN, SHARD_OF, SQUARE, Made

if TYPE_CHECKING:
    from pathlib import Path

NAME = "test-00000.safetensors"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, PLAIN)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Latents to which a test gives back every byte that it takes."""
    return Made(tmp_path_factory.mktemp("latents"), SQUARE)


@pytest.mark.parametrize("shape", [SQUARE, PLAIN], ids=["8 views", "1 view"])
def test_sound_latents_have_no_problem_and_each_shard_is_reported(tmp_path: Path, shape: Any) -> None:
    reports: list[tuple[str, int, int]] = []
    latents = Made(tmp_path, shape).latents
    assert check_latents(latents, lambda *report: reports.append(report)) == []
    assert reports == [("verifying latents", done, 3) for done in (1, 2, 3)]


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(shared: Made, share: float, bit: int) -> None:
    path = shared.folder / NAME
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(share * len(whole))] ^= 1 << bit
    try:
        path.write_bytes(damaged)
        (problem,) = check_latents(shared.latents)
    finally:
        path.write_bytes(whole)
    assert problem.startswith(f"{NAME} ")


def test_damage_is_named_for_the_sample_that_it_is_in(made: Made) -> None:
    path = made.folder / NAME
    whole = path.read_bytes()
    row = next(row for row in read_index(made.latents).to_pylist() if row["key"] == "test-00000/1")
    for place, what in (
        (row["moments_offset"], "the latents of test-00000/1 are not those that were written"),
        (row["labels_offset"], "the mask of test-00000/1 is not the one that was written"),
        (row["lengths_offset"], "a mask's runs do not add up to its pixels"),
        (20, "its header cannot be read"),
    ):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        assert check_latents(made.latents) == [f"{NAME} is damaged: {what}"]


def test_all_problems_are_listed_each_with_its_file(made: Made) -> None:
    (made.folder / NAME).unlink()
    (made.folder / "train-00001.safetensors").write_bytes(b"")
    (made.folder / "mine.safetensors").write_bytes(b"x")
    size = next(one.bytes for one in made.latents.shards if one.name == "train-00001")
    assert check_latents(made.latents) == [
        "mine.safetensors is not one of these shards",
        f"{NAME} is missing",
        f"train-00001.safetensors has 0 bytes instead of {size:,}",
    ]


def test_an_index_or_mean_that_does_not_belong_to_the_shards_is_named(made: Made) -> None:
    assert check_latents(replace(made.latents, mean=(9.0, 9.0))) == [
        "mean and std in latents.json are not those of the shards"
    ]
    index = read_index(made.latents)
    other = index.set_column(index.column_names.index("runs"), "runs", pa.array([1] * len(index), pa.uint32()))
    changed = replace(made.latents, index_digest=write_index(other, made.folder))
    assert f"{NAME} is damaged: the mask of" in " ".join(check_latents(changed))


def test_another_shard_under_the_same_name_is_found_by_its_plan(made: Made) -> None:
    shards = tuple(replace(one, plan="0" * 64) for one in made.latents.shards)
    assert check_latents(replace(made.latents, shards=shards)) == [
        f"{name}.safetensors was made from other samples or by another autoencoder" for name in SHARD_OF
    ]


def test_the_training_split_is_all_there_is_where_none_has_that_name() -> None:
    assert training_split({"train", "test"}) == {"train"}
    assert training_split({"fold-0", "fold-1"}) == {"fold-0", "fold-1"}


def test_sums_of_shards_are_those_of_their_moments(made: Made) -> None:
    found = add_up([made.folder / f"{name}.safetensors" for name in SHARD_OF])
    everything = np.stack([*made.moments.values()])[:, :, :2].astype(np.float64)
    np.testing.assert_allclose(found.mean_and_std()[0], everything.mean(axis=(0, 1, 3, 4)))
    (made.folder / NAME).write_bytes(b"no shard")
    with pytest.raises(HistodsError, match="has no such header; remove the file.$"):
        add_up([made.folder / NAME])
