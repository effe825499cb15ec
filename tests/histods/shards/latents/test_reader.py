"""Reading latents: masks turn with their views, every bit is proved, and what it needs is NumPy and PyArrow."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from histods.errors import HistodsError
from histods.sampling.draws import dihedral
from histods.shards.latents import reader as latent_reader
from histods.shards.latents.reader import Latent, LatentReader
from tests.histods.shards.latents.made import PLAIN, SHARD_OF, SQUARE, Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "latents", SQUARE)


def refusal(reader: LatentReader, sample: int, view: int = 0) -> str:
    with pytest.raises(HistodsError) as caught:
        reader.read(sample, view)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(one: Latent, other: Latent) -> bool:
    pairs: Iterator[tuple[Any, Any]] = zip(one, other, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_every_view_has_its_own_latents_and_the_mask_turned_alike(tmp_path: Path, seed: int) -> None:
    made = Made(tmp_path / "latents", SQUARE, seed)
    reader = LatentReader(made.folder)
    assert len(reader) == 12
    for sample in range(len(reader)):
        key = reader.key(sample)
        for view in range(8):
            found = reader.read(sample, view)
            np.testing.assert_array_equal(found.mean, made.moments[key][view, :2])
            np.testing.assert_array_equal(found.logvar, made.moments[key][view, 2:])
            np.testing.assert_array_equal(found.mask, dihedral(made.masks[key], view))


def test_latents_of_one_view_need_not_be_square_and_have_no_other(tmp_path: Path) -> None:
    made = Made(tmp_path / "latents", PLAIN)
    reader = LatentReader(made.folder)
    for sample in range(len(reader)):
        found = reader.read(sample)
        np.testing.assert_array_equal(found.mean, made.moments[reader.key(sample)][0, :2])
        np.testing.assert_array_equal(found.mask, made.masks[reader.key(sample)])
    assert refusal(reader, 0, 5) == (
        f"The latents in {made.folder} have 1 of 8 views, not view 5; run 'histods encode --views 8'."
    )


def test_a_split_has_its_samples_and_classes_alone(made: Made) -> None:
    reader = LatentReader(made.folder, ["train"])
    index = pl.read_parquet(made.folder / "index.parquet").filter(pl.col("split") == "train")
    assert [reader.key(sample) for sample in range(len(reader))] == index["key"].to_list()
    classes = [max(held or [0]) for held in index["classes"].to_list()]
    for number in range(3):
        listed = reader.lists.samples[reader.lists.bounds[number] : reader.lists.bounds[number + 1]]
        assert listed.tolist() == [sample for sample, held in enumerate(classes) if held == number]
    with pytest.raises(HistodsError, match="has no split 'valid'; choose one of test, train"):
        LatentReader(made.folder, ["valid"])


@pytest.mark.parametrize("place", range(0, 12, 3))
def test_any_flipped_bit_that_is_read_is_named(made: Made, place: int) -> None:
    reader = LatentReader(made.folder)
    row = pl.read_parquet(made.folder / "index.parquet").row(place, named=True)
    path = made.folder / f"{row['shard']}.safetensors"
    whole = path.read_bytes()
    size = 2 * made.moments[row["key"]][0].size
    turned = row["lengths_offset"] + 4 * row["runs"], row["labels_offset"] + row["runs"]
    damages = [(row["moments_offset"] + view * size + size - 1, view, f"latents (view {view})") for view in (0, 7)]
    damages += [(row["moments_offset"] + 3 * size, 3, "latents (view 3)")]
    damages += [(row["lengths_offset"], 2, "mask"), (row["labels_offset"] + row["runs"] - 1, 0, "mask")]
    damages += [(turned[0], 1, "mask"), (turned[1] + row["turned_runs"] - 1, 7, "mask")]
    for offset, view, what in damages:
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :])
        assert refusal(reader, place, view) == (
            f"{path.name} has other bytes than were written for the {what} of {row['key']}; run 'histods encode "
            "--verify', remove the damaged shard and run 'histods encode' again."
        )
        path.write_bytes(whole)
        reader.read(place, view)


def test_a_shard_that_is_cut_short_while_it_is_read_is_named(made: Made) -> None:
    reader = LatentReader(made.folder)
    for shard in SHARD_OF:
        os.truncate(made.folder / f"{shard}.safetensors", 700)
    assert "has other bytes than were written" in refusal(reader, 11, 7)


def test_a_truncated_missing_or_foreign_file_is_named_when_the_folder_is_opened(made: Made) -> None:
    def verdict() -> str:
        with pytest.raises(HistodsError) as caught:
            LatentReader(made.folder)
        start, ending = (
            f"The latents in {made.folder} are not sound: ",
            "; remove what is wrong and run 'histods encode' again.",
        )
        assert str(caught.value).startswith(start)
        assert str(caught.value).endswith(ending)
        return str(caught.value).removeprefix(start).removesuffix(ending)

    path = made.folder / "train-00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert verdict() == f"train-00001.safetensors has {len(whole) - 1:,} bytes instead of {len(whole):,}"
    path.unlink()
    assert verdict() == "train-00001.safetensors is missing"
    path.write_bytes(whole)
    pl.read_parquet(made.folder / "index.parquet").head(3).write_parquet(made.folder / "index.parquet")
    assert verdict() == "index.parquet is not the one that latents.json describes"
    (made.folder / "latents.json").unlink()
    with pytest.raises(HistodsError) as caught:
        LatentReader(made.folder)
    assert str(caught.value) == (
        f"There are no finished latents in {made.folder} (no latents.json); run 'histods encode --out "
        f"{made.folder}'."
    )


def test_threads_may_share_a_reader_that_keeps_few_files_open(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_reader, "_OPEN_FILES", 1)
    reader = LatentReader(made.folder)
    expected = [reader.read(sample, sample % 8) for sample in range(12)]
    wrong: list[object] = []

    def read(seed: int) -> None:
        for sample in np.random.default_rng(seed).integers(0, 12, 400).tolist():
            try:
                found = reader.read(sample, sample % 8)
            except HistodsError as error:
                wrong.append(error)
                return
            if not same(found, expected[sample]):
                wrong.append(sample)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_is_left_open_and_another_process_may_have_the_reader(made: Made) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = LatentReader(made.folder, ["train"])
    found = reader.read(4, 1)
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own bytes
    assert same(again.read(4, 1), found)
    del reader, again
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_it_needs_numpy_and_pyarrow_alone(made: Made) -> None:
    others = [
        "torch",
        "polars",
        "xxhash",
        "PIL",
        "cv2",
        "simplejpeg",
        "kornia_rs",
        "safetensors",
        "yaml",
    ]
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(sys.argv[2:]))\n"  # importing any of them is an error now
        "from histods.shards.latents.reader import LatentReader\n"
        "print(LatentReader(sys.argv[1]).read(3, 5).mask.shape)\n"
    )
    command = [sys.executable, "-c", code, str(made.folder), *others]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(24, 24)\n"
