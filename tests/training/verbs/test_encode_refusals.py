"""encode: damage is named, and a wrong call is one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from PIL import Image

from histods import audit, shard
from histods.shards.latents import writer as latent_shards
from histods.shards.latents.reader import LatentReader
from tests.training.verbs.encoded import SMALL, damage_byte, make_shards, refusal, tree
from training.verbs.encode import encode

if TYPE_CHECKING:
    from tests.conftest import Site


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_shards, "SHARD_BYTES", SMALL)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_shards(tmp_path_factory.mktemp("encode"))


@pytest.fixture
def own(shards: Site, tmp_path: Path) -> Path:
    """A workspace of one's own with the shards."""
    return Path(shutil.copytree(shards.workspace, tmp_path / "out"))


def test_damage_is_named(own: Path) -> None:
    encode(workspace=own)
    folder = own / "latents"
    sound = tree(folder)
    start, ending = (
        f"The latents in {folder} are not sound: ",
        "; remove what is wrong and run 'histods encode' again.",
    )

    def verdict() -> str:
        text = refusal(lambda: encode(workspace=own, verify=True))
        assert text.startswith(start)
        assert text.endswith(ending)
        for name, content in sound.items():
            (folder / name).write_bytes(content)
        assert encode(workspace=own, verify=True).verified
        return text.removeprefix(start).removesuffix(ending)

    rows = pl.read_parquet(folder / "index.parquet")
    row = rows.filter(pl.col("shard") == "train-00001").row(4, named=True)
    path = folder / "train-00001.safetensors"
    whole = path.read_bytes()
    name = path.name
    damage_byte(path, row["moments_offset"] + 100)
    assert verdict() == f"{name} is damaged: the latents of {row['key']} are not those that were written"
    damage_byte(path, row["labels_offset"])
    assert verdict() == f"{name} is damaged: the mask of {row['key']} is not the one that was written"
    damage_byte(path, row["lengths_offset"])
    assert verdict() == f"{name} is damaged: a mask's runs do not add up to its pixels"
    damage_byte(path, 9)
    assert verdict() == f"{name} is damaged: its header cannot be read"
    digit = whole.index(b".", whole.index(b"means")) + 1  # of the sums, which are in the header
    path.write_bytes(whole[:digit] + bytes([whole[digit] ^ 1]) + whole[digit + 1 :])
    assert verdict() == (
        f"{name} is damaged outside its latents and masks: its SHA-256 is not the one in latents.json"
    )
    path.write_bytes(whole[:-64])
    assert verdict() == f"{name} has {len(whole) - 64:,} bytes instead of {len(whole):,}"
    path.unlink()
    assert verdict() == f"{name} is missing"
    (folder / "index.parquet").write_bytes(b"PAR1")
    assert verdict() == "index.parquet is not the one that latents.json describes"
    (folder / "stranger-00000.safetensors").write_bytes(b"")
    text = refusal(lambda: encode(workspace=own, verify=True))
    assert "stranger-00000.safetensors is not one of these shards" in text
    (folder / "stranger-00000.safetensors").unlink()
    document = json.loads(sound["latents.json"])
    document["mean"][0] += 1e-9
    (folder / "latents.json").write_text(json.dumps(document))
    assert verdict() == "mean and std in latents.json are not those of the shards"
    damage_byte(folder / "autoencoder" / "autoencoder.safetensors", 500)
    text = verdict()
    assert text.startswith("the autoencoder is damaged (")
    assert "does not hold the weights that autoencoder.json describes" in text


def test_a_shard_of_other_latents_is_named(own: Path) -> None:
    """Of the same shape and size, with sound checksums of its own."""
    encode(workspace=own)
    other = own.parent / "other"
    shutil.copytree(own, other)
    shutil.rmtree(other / "latents")
    rows = pl.read_parquet(other / "shards" / "index.parquet")
    _use_index(other, rows.with_columns(role=pl.lit("unconditional")))
    encode(workspace=other, vae=own / "latents" / "autoencoder")
    name = "train-00000.safetensors"
    shutil.copy(other / "latents" / name, own / "latents" / name)
    assert f"not sound: {name} was made from other samples or by another autoencoder; " in refusal(
        lambda: encode(workspace=own, verify=True)
    )


def _use_index(workspace: Path, rows: pl.DataFrame) -> None:
    """Give shards another index."""
    path = workspace / "shards" / "index.parquet"
    rows.write_parquet(path)
    document = json.loads((workspace / "shards" / "shards.json").read_text())
    document["index_digest"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (workspace / "shards" / "shards.json").write_text(json.dumps(document))


def test_a_damaged_image_is_named_and_what_was_done_is_kept(own: Path) -> None:
    row = pl.read_parquet(own / "shards" / "index.parquet").filter(pl.col("split") == "train").row(-1, named=True)
    damage_byte(own / "shards" / f"{row['shard']}.tar", row["image_offset"] + row["image_bytes"] // 2)
    assert refusal(lambda: encode(workspace=own)) == (
        f"{row['shard']}.tar has other bytes than were written for the image of {row['key']}; run 'histods shard "
        "--verify', remove the damaged shard and run 'histods shard' again."
    )


def test_calls_that_are_wrong_are_refused_in_one_line(own: Path, shards: Site, tmp_path: Path) -> None:
    assert refusal(lambda: encode(workspace=own, views=4)) == (
        "--views is 4; it must be 8 or 1: choose one of them."
    )
    (tmp_path / "file").touch()
    assert refusal(lambda: encode(workspace=own, out=tmp_path / "file")) == (
        f"{tmp_path / 'file'} is a file; --out must name a folder."
    )
    assert refusal(lambda: encode(workspace=own, out=shards.root / "here")).startswith(
        f"{shards.root / 'here'} is not outside the dataset {shards.root}, which is never written to; "
    )
    assert refusal(lambda: encode(workspace=own, out=own / "shards")) == (
        f"{own / 'shards'} holds other shards (shards.json); choose another folder with --out."
    )
    assert refusal(lambda: encode(workspace=tmp_path / "none")).startswith("There are no finished shards in ")
    assert refusal(lambda: encode(workspace=own, verify=True)).startswith("There are no finished latents in ")
    assert refusal(lambda: encode(workspace=own, device="gpu")).startswith("The device gpu cannot be used (")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "theirs.safetensors").write_bytes(b"of great worth")
    assert refusal(lambda: encode(workspace=own, out=tmp_path / "taken")) == (
        f"{tmp_path / 'taken'} holds theirs.safetensors, which is not of this command; choose a new folder with "
        "--out."
    )
    assert (tmp_path / "taken" / "theirs.safetensors").read_bytes() == b"of great worth"


def resized(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """A workspace with shards of images of some sizes (width, height)."""
    (folder / "data").mkdir(parents=True)
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number, 20, 30)).save(folder / "data" / f"x{number}.png")
        Image.new("L", size, number).save(folder / "data" / f"x{number}_mask.png")
    audit(folder / "data", workspace=folder / "out", workers=1)
    shard(workspace=folder / "out", workers=1)
    return folder / "out"


def test_images_of_two_sizes_or_that_are_not_square_or_fit_no_blocks_are_named(tmp_path: Path) -> None:
    two = resized(tmp_path / "two", [(16, 16), (16, 16), (24, 16)])
    assert refusal(lambda: encode(workspace=two)) == (
        "x0 is 16x16 and x2 is 24x16, but all images must have one size; 'histods tile --size 16 --to DIR' "
        "cuts images and masks into patches of 16x16: audit these, then encode them."
    )
    oblong = resized(tmp_path / "oblong", [(32, 16)] * 3)
    assert refusal(lambda: encode(workspace=oblong)) == (
        "The images are 32x16, but 8 views need square images; 'histods tile --size 16 --to DIR' cuts "
        "images and masks into patches of 16x16, or encode with --views 1."
    )
    latents = encode(workspace=oblong, views=1).latents
    assert (latents.height, latents.width) == (2, 4)
    assert LatentReader(oblong / "latents").read(2).mask.shape == (16, 32)
    odd = resized(tmp_path / "odd", [(20, 20)] * 3)
    assert refusal(lambda: encode(workspace=odd)) == (
        "The images are 20x20, but their sides must be multiples of 8; crop or resize them."
    )
