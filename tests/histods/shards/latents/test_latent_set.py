"""Latents describe themselves, know their shards, and no description has impossible sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from histods.errors import HistodsError, StaleFileError
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import EncodedBy, LatentSet
from tests.histods.shards.latents.made import PLAIN, Made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> LatentSet:
    return Made(tmp_path_factory.mktemp("latents"), PLAIN).latents


def test_a_description_is_read_as_it_was_written(latents: LatentSet) -> None:
    assert LatentSet.read(latents.folder) == latents
    assert latents.command == "histods encode --vae x --views 1"


def test_the_built_in_autoencoder_is_beside_the_latents_and_any_other_by_its_name(latents: LatentSet) -> None:
    assert latents.autoencoder_source == "x"
    linear = replace(latents, autoencoder=replace(latents.autoencoder, name="linear"))
    assert linear.autoencoder_source == f"{latents.folder}/autoencoder"


def test_latents_of_other_shards_are_refused_with_the_command(latents: LatentSet, tmp_path: Path) -> None:
    shards = ShardSet(
        folder=tmp_path, shards=(), map="", classes=(), labels=(), map_digest="", index_digest="z",
        manifest_digest="", split_digest=None,
    )  # fmt: skip
    latents.check_source(shards)
    with pytest.raises(StaleFileError) as caught:
        latents.check_source(replace(shards, index_digest="y"))
    assert str(caught.value) == (
        f"The latents in {latents.folder} were made from other shards than those in {tmp_path}, or from an "
        "earlier state of them; run 'histods encode --vae x --views 1' again."
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"views": 2}, "2 views of 2x3x4 latents"),
        ({"channels": 0}, "1 views of 0x3x4 latents"),
        ({"autoencoder": EncodedBy(name="x", digest="y", factor=0, channels=2)}, "1 views of 2x3x4 latents"),
        ({"autoencoder": EncodedBy(name="x", digest="y", factor=8, channels=3)}, "1 views of 2x3x4 latents"),
        ({"image_height": 64}, "images of 32x64 pixels"),
        ({"mean": (0.0,)}, "mean and std of another number of channels"),
        ({"views": 8}, "samples in the"),
        ({"shards": ()}, "no shards"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(latents: LatentSet, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(latents, **changes).check_numbers()


def test_a_description_of_impossible_sizes_is_one_line(latents: LatentSet, tmp_path: Path) -> None:
    replace(latents, folder=tmp_path, views=3).write()
    with pytest.raises(HistodsError) as caught:
        LatentSet.describe(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/latents.json is not a description of latents (3 views of 2x3x4 latents); "
        "run 'histods encode' into a new folder."
    )
