"""encode: latents are those of the turned image, the same bytes after any kill; nothing stale or torn passes."""

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

from histods import audit, shard, split
from histods.errors import HistodsError, StaleFileError
from histods.images.reader import decode_rgb
from histods.sampling.draws import dihedral
from histods.shards.images.reader import ShardReader
from histods.shards.latents import writer as latent_shards
from histods.shards.latents.latent_set import LatentSet
from histods.shards.latents.reader import LatentReader
from tests.commands import histods
from tests.conftest import make_site
from tests.forked import Forked
from tests.training.autoencoders.test_base import kl, tiny
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.latents import encode_shards as encoding
from training.verbs.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Site

SMALL = 12 * 8 * 8 * 36 * 2  # bytes of 12 samples in 8 views of 8 x 6 x 6 numbers


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_shards, "SHARD_BYTES", SMALL)


def tree(folder: Path) -> dict[str, bytes]:
    """Name and content of every file, but for the lock and the arrays that readers make."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and ".lookup" not in path.parts
    }


def refusal(call: Callable[[], object], kind: type[HistodsError] = HistodsError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def in_range(pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    """One image as an autoencoder takes it, by itself: [1, 3, H, W] from -1 to 1."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None] / 127.5 - 1


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A dataset in two splits, as shards in its workspace."""
    site = make_site(tmp_path_factory.mktemp("encode"))
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site


@pytest.fixture
def own(shards: Site, tmp_path: Path) -> Path:
    """A workspace of one's own with the shards."""
    return Path(shutil.copytree(shards.workspace, tmp_path / "out"))


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


def damage_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


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
