"""encode: latents are those of the turned image, the same bytes after any kill; nothing stale passes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from histods import audit, shard
from histods.errors import HistodsError, StaleFileError
from histods.images.reader import decode_rgb
from histods.sampling.draws import dihedral
from histods.shards.images.reader import ShardReader
from histods.shards.latents import writer as latent_shards
from histods.shards.latents.latent_set import LatentSet
from histods.shards.latents.reader import LatentReader
from tests.commands import histods
from tests.forked import Forked
from tests.training.autoencoders.test_base import kl, tiny
from tests.training.verbs.encoded import SMALL, damage_byte, make_shards, refusal, tree
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.latents import encode_shards as encoding
from training.verbs.encode import encode

if TYPE_CHECKING:
    from typing import Any

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


def in_range(pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    """One image as an autoencoder takes it, by itself: [1, 3, H, W] from -1 to 1."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None] / 127.5 - 1


@pytest.fixture(scope="module")
def undisturbed(shards: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of latents that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_shards, "SHARD_BYTES", SMALL)
        encode(workspace=shards.workspace, out=folder)
    return tree(folder)


@pytest.fixture
def saved_kl(tmp_path: Path) -> Path:
    kl().save_pretrained(tmp_path / "kl")
    return tmp_path / "kl"


@pytest.mark.parametrize("name", ["linear", "kl", "tiny"])
@pytest.mark.parametrize("views", [8, 1])
def test_latents_are_the_encoding_of_the_turned_image_beside_the_turned_mask(
    shards: Site, tmp_path: Path, name: str, views: int
) -> None:
    if name != "linear":
        (kl() if name == "kl" else tiny()).save_pretrained(tmp_path / name)
    vae = name if name == "linear" else tmp_path / name
    encode(workspace=shards.workspace, vae=vae, views=views, out=tmp_path / "latents")
    images, reader = ShardReader(shards.workspace / "shards"), LatentReader(tmp_path / "latents")
    autoencoder = load_autoencoder(reader.shards.autoencoder_source)
    assert reader.shards.autoencoder.digest == autoencoder.digest
    assert len(reader) == len(images) == 40
    for sample in range(0, 40, 3):
        key = reader.key(sample)
        assert key == images.key(sample)
        pixels, mask = decode_rgb(images.read(sample).image), shards.classes(key)
        for view in range(views):
            found = reader.read(sample, view)
            mean, logvar = autoencoder.encode(in_range(np.ascontiguousarray(dihedral(pixels, view))))
            np.testing.assert_allclose(found.mean, mean[0], rtol=2e-3, atol=2e-4)
            np.testing.assert_allclose(found.logvar, logvar[0], rtol=2e-3, atol=2e-4)
            expected = np.zeros((48, 48), np.uint8) if mask is None else mask
            np.testing.assert_array_equal(found.mask, dihedral(expected, view))


@pytest.mark.parametrize("view", range(8))
def test_images_turn_as_masks_do(view: int) -> None:
    pixels = np.random.default_rng(view).integers(0, 255, (2, 9, 9, 3), dtype=np.uint8)
    turned = encoding.dihedral(torch.from_numpy(pixels).permute(0, 3, 1, 2), view)
    for one, image in zip(turned, pixels, strict=True):
        np.testing.assert_array_equal(one.permute(1, 2, 0).numpy(), dihedral(image, view))


def test_the_description_says_what_is_there(shards: Site, tmp_path: Path) -> None:
    folder = tmp_path / "latents"
    result = encode(workspace=shards.workspace, out=folder)
    latents = LatentSet.read(folder)
    assert result.latents == latents
    assert [(one.name, one.samples) for one in latents.shards] == [
        ("test-00000", 8),
        ("train-00000", 12),
        ("train-00001", 12),
        ("train-00002", 8),
    ]
    source = ShardReader(shards.workspace / "shards").shards
    assert (latents.classes, latents.labels, latents.map_digest) == (
        source.classes,
        source.labels,
        source.map_digest,
    )
    assert latents.source_digest == source.index_digest
    assert (latents.views, latents.channels, latents.height, latents.width) == (8, 4, 6, 6)
    assert (latents.image_height, latents.image_width) == (48, 48)
    index, images = pl.read_parquet(folder / "index.parquet"), pl.read_parquet(source.index)
    for column in ("key", "split", "role", "group", "classes", "pixels"):
        assert index[column].to_list() == images[column].to_list()
    assert {path.name for path in folder.iterdir()} == {
        *(f"{one.name}.safetensors" for one in latents.shards),
        *("autoencoder", "index.parquet", "latents.json", ".lock"),
    }


def test_mean_and_deviation_are_those_of_the_training_split_s_latents(shards: Site, saved_kl: Path) -> None:
    folder = saved_kl.parent / "latents"
    latents = encode(workspace=shards.workspace, vae=saved_kl, out=folder).latents
    moments = np.concatenate([load_file(path)["moments"] for path in sorted(folder.glob("train-*.safetensors"))])
    means, logvars = np.split(moments.astype(np.float64), 2, axis=2)
    axes = (0, 1, 3, 4)
    np.testing.assert_allclose(latents.mean, means.mean(axis=axes), rtol=1e-9)
    np.testing.assert_allclose(latents.std, np.sqrt(means.var(axis=axes) + np.exp(logvars).mean(axis=axes)))


def test_the_linear_autoencoder_is_fitted_on_the_training_images(shards: Site, tmp_path: Path) -> None:
    encode(workspace=shards.workspace, out=tmp_path / "latents")
    reader = ShardReader(shards.workspace / "shards", ["train"])
    images = np.stack([decode_rgb(reader.read(sample).image) for sample in range(len(reader))])
    expected = LinearAutoencoder.fit([torch.from_numpy(images).permute(0, 3, 1, 2)])
    kept = LinearAutoencoder.load(tmp_path / "latents" / "autoencoder")
    assert kept.digest == expected.digest
    assert kept.source == reader.shards.index_digest


def test_a_second_run_writes_nothing_and_fits_nothing(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(workspace=own)
    before = {path: path.stat().st_mtime_ns for path in (own / "latents").glob("*.*")}
    monkeypatch.setattr(LinearAutoencoder, "fit", None)
    second = encode(workspace=own)
    assert (first.written, first.present) == (4, 0)
    assert (second.written, second.present) == (0, 4)
    assert second.latents == first.latents
    assert {path: path.stat().st_mtime_ns for path in (own / "latents").glob("*.*")} == before


def test_progress_counts_samples(own: Path) -> None:
    told: list[tuple[str, int, int]] = []
    encode(workspace=own, progress=lambda *what: told.append(what))
    encoded = [(done, of) for stage, done, of in told if stage == "encoding"]
    assert encoded == [(done, 40) for done in range(1, 41)]
    assert ("fitting the linear autoencoder", 32, 32) in told


CODE = """
import sys, time
from histods.shards.latents import writer as latent_shards
from training.verbs.encode import encode
latent_shards.SHARD_BYTES = {size}
encode(workspace=sys.argv[1], out=sys.argv[2], device="cpu", progress=lambda *_: time.sleep(0.005))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_and_ends_with_the_same_bytes(
    shards: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", CODE.format(size=SMALL // 4), str(shards.workspace)]  # 14 shards
    monkeypatch.setattr(latent_shards, "SHARD_BYTES", SMALL // 4)
    encode(workspace=shards.workspace, out=tmp_path / "undisturbed", device="cpu")
    expected = tree(tmp_path / "undisturbed")
    folder, moments = tmp_path / "killed", random.Random(0)
    killed = 0
    for _ in range(3):
        process = Forked([*command, folder], start_new_session=True)
        enough = len(list(folder.glob("*.safetensors"))) + moments.randint(1, 5)
        while len(list(folder.glob("*.safetensors"))) < enough and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += not (folder / "latents.json").is_file()
        for path in folder.glob("*.safetensors"):  # what has its final name is whole
            assert path.read_bytes() == expected[path.name]
        if moments.random() < 0.3:
            encode(workspace=shards.workspace, out=folder, device="cpu")
            assert tree(folder) == expected
            shutil.rmtree(folder)
    encode(workspace=shards.workspace, out=folder, device="cpu")
    assert tree(folder) == expected
    assert killed


@pytest.mark.parametrize("writes", range(1, 13))
def test_ended_at_any_write_it_goes_on_and_ends_with_the_same_bytes(
    own: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """A full disk at the n-th file that takes its final name, then again later, then none."""
    left = writes
    replace = Path.replace

    def may_fail(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(28, "No space left on device", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", may_fail)
    for more in (writes, 3):
        left = more
        try:
            encode(workspace=own)
        except (HistodsError, OSError) as error:
            assert "No space left on device" in str(error)
            assert not list((own / "latents").rglob(".*.part"))
    left = -1
    encode(workspace=own)
    assert tree(own / "latents") == undisturbed


def test_a_full_disk_is_one_line(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(latent_shards, "write_tensors", full)
    assert refusal(lambda: encode(workspace=own)) == (
        "test-00000.safetensors could not be written: [Errno 28] No space left on device: "
        f"{str(own / 'latents' / 'test-00000.safetensors')!r}; fix that and run the same command again."
    )


def test_a_removed_shard_is_written_again_with_the_same_bytes(own: Path) -> None:
    encode(workspace=own)
    before = tree(own / "latents")
    (own / "latents" / "train-00001.safetensors").unlink()
    result = encode(workspace=own)
    assert (result.written, result.present) == (1, 3)
    assert tree(own / "latents") == before


def test_a_lost_index_or_autoencoder_is_made_again_and_sound_latents_stay(own: Path) -> None:
    encode(workspace=own)
    folder = own / "latents"
    before = tree(folder)
    (folder / "index.parquet").write_bytes(b"other")
    damage_byte(folder / "train-00001.safetensors", 20_000)
    (folder / "autoencoder" / "autoencoder.safetensors").write_bytes(b"other")
    result = encode(workspace=own)
    assert (result.written, result.present) == (1, 3)
    assert tree(folder) == before
    shutil.rmtree(folder / "autoencoder")
    assert encode(workspace=own).written == 0
    assert tree(folder) == before


def add_samples(site: Site, number: int) -> None:
    """More images and masks, their shards appended to those that are there."""
    for place in range(number):
        key = site.root / f"slide.9/more_{place}"
        key.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{key}.png")
        Image.fromarray(np.full((48, 48), 3 + place, np.uint8)).save(f"{key}_mask.png")
    audit(
        site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1, hash=True
    )
    shard(workspace=site.workspace, map=site.map, workers=1)


def test_latents_of_shards_that_have_grown_are_stale_and_made_anew_where_they_must(
    site: Site, saved_kl: Path
) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    encode(workspace=site.workspace, vae=saved_kl)
    folder = site.workspace / "latents"
    names = [f"all-{number:05d}.safetensors" for number in range(4)]
    before = tree(folder)
    add_samples(site, 6)
    assert refusal(lambda: encode(workspace=site.workspace, verify=True), StaleFileError) == (
        f"The latents in {folder} were made from other shards than those in "
        f"{site.workspace / 'shards'}, or from an earlier state of them; run "
        f"'histods encode --vae {saved_kl} --views 8' again."
    )
    result = encode(workspace=site.workspace, vae=saved_kl)
    assert (result.written, result.present) == (1, 3)  # the last was not full
    after = tree(folder)
    assert [name for name in names if after[name] == before[name]] == names[:3]
    assert sum(one.samples for one in result.latents.shards) == 46
    assert encode(workspace=site.workspace, verify=True).verified
    fresh = site.workspace.parent / "fresh"
    encode(workspace=site.workspace, vae=saved_kl, out=fresh)
    assert tree(fresh) == after


def test_the_linear_autoencoder_is_fitted_again_when_the_images_have_changed(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    before = encode(workspace=site.workspace).latents
    add_samples(site, 3)
    after = encode(workspace=site.workspace).latents
    assert after.autoencoder.digest != before.autoencoder.digest
    assert encode(workspace=site.workspace, verify=True).verified


def test_images_in_other_shards_than_before_need_no_new_latents(own: Path) -> None:
    latents = encode(workspace=own).latents
    again = own.parent / "again"
    shutil.copytree(own / "shards", again)
    path = again / "index.parquet"
    pl.read_parquet(path).rechunk().write_parquet(path, compression="snappy")  # the same rows, another digest
    document = json.loads((again / "shards.json").read_text())
    document["index_digest"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (again / "shards.json").write_text(json.dumps(document))
    result = encode(workspace=own, shards=again)
    assert (result.written, result.present) == (0, 4)
    assert result.latents.source_digest == document["index_digest"]
    assert result.latents.shards == latents.shards
    assert encode(workspace=own, shards=again, verify=True).verified


def test_finished_latents_of_another_autoencoder_or_of_other_views_are_never_replaced(
    own: Path, saved_kl: Path
) -> None:
    before = encode(workspace=own, vae=saved_kl).latents
    folder = own / "latents"
    files = tree(folder)
    tiny().save_pretrained(saved_kl.parent / "tiny")
    other = load_autoencoder(str(saved_kl.parent / "tiny")).digest
    start = f"{folder} was encoded with {saved_kl} {before.autoencoder.digest[:12]} and 8 views, not with "
    ending = "; write to a new folder with --out, or remove this one."
    found = {
        f"{saved_kl.parent / 'tiny'} {other[:12]} and 8 views": {"vae": saved_kl.parent / "tiny"},
        "linear and 8 views": {},
        f"{saved_kl} {before.autoencoder.digest[:12]} and 1 views": {"vae": saved_kl, "views": 1},
    }
    for what, options in found.items():
        assert refusal(lambda options=options: encode(workspace=own, **options)) == start + what + ending  # type: ignore[misc]
    assert tree(folder) == files


def test_a_killed_run_of_another_autoencoder_leaves_nothing_behind(
    own: Path, saved_kl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(latent_shards, "SHARD_BYTES", SMALL // 2)
        patch.setattr("training.verbs.encode.collect_shards", None)  # all shards are written, then it ends
        with pytest.raises(TypeError):
            encode(workspace=own)
    assert len(list((own / "latents").glob("*.safetensors"))) == 8
    encode(workspace=own, vae=saved_kl)
    encode(workspace=own, vae=saved_kl, out=own / "fresh")
    assert tree(own / "latents") == tree(own / "fresh")


def test_a_linear_autoencoder_of_other_latents_is_kept_with_its_latents(own: Path) -> None:
    encode(workspace=own, out=own / "first")
    result = encode(workspace=own, vae=own / "first" / "autoencoder")
    assert result.latents.autoencoder.name == "linear"
    assert load_autoencoder(result.latents.autoencoder_source).digest == result.latents.autoencoder.digest
    assert tree(own / "latents") == tree(own / "first")


@pytest.mark.parametrize("arguments", [[], ["--views", "1"], ["--verify"]])
def test_the_command_shows_what_it_made(own: Path, arguments: list[str]) -> None:
    if "--verify" in arguments:
        encode(workspace=own)
    printed = histods("encode", "-w", own, "--json", *arguments)
    document = json.loads(printed.stdout)
    latents = LatentSet.read(own / "latents")
    assert document["splits"] == {
        name: {"shards": shards, "samples": samples, "bytes": size}
        for name, (shards, samples, size) in latents.splits.items()
    }
    assert (document["mean"], document["std"]) == (list(latents.mean), list(latents.std))
    assert document["verified"] == ("--verify" in arguments)
    assert document["autoencoder"]["digest"] == latents.autoencoder.digest
    assert "Latents of three" in printed.stderr
    assert f"Autoencoder linear ({latents.autoencoder.digest[:12]})" in printed.stderr
    assert f"0  {latents.mean[0]:.4f}" in " ".join(printed.stderr.split()).replace(" ", "  ")
