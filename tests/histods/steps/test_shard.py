"""shard: archives that other tools read, every byte accounted for, and the same bytes after any kill."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import audit, shard, split
from histods.errors import HistodsError
from histods.shards.images.shard_set import ShardSet
from tests.commands import histods
from tests.datasets.benchmark import make_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Site

SMALL = 1  # megabytes a shard


def tree(folder: Path) -> dict[str, bytes]:
    """Name and content of every file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def members(folder: Path) -> dict[str, bytes]:
    """Every file in every archive of a folder, as `tarfile` reads them."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for info in archive:
                assert info.name not in found
                found[info.name] = archive.extractfile(info).read()  # type: ignore[union-attr]
    return found


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def sharded(shared_site: Site) -> Path:
    """The shards of a dataset of all formats, under a label map."""
    folder = shared_site.workspace.parent / "sharded"
    shard(workspace=shared_site.workspace, map=shared_site.map, out=folder, shard_mb=SMALL, workers=1)
    return folder


def test_every_sample_is_there_with_its_image_byte_for_byte_and_its_classes(
    sharded: Path, shared_site: Site
) -> None:
    files = members(sharded)
    described = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    assert {row["key"] for row in described.values()} == set(shared_site.images)
    for name, row in described.items():
        key, member = row["key"], name.removesuffix(".json")
        assert files[member + shared_site.images[key].suffix.lower()] == shared_site.images[key].read_bytes()
        classes = shared_site.classes(key)
        assert (f"{member}.mask.png" in files) == (classes is not None)
        if classes is not None:
            mask = Image.open(io.BytesIO(files[f"{member}.mask.png"]))
            assert mask.mode == "L"
            np.testing.assert_array_equal(np.asarray(mask), classes)
            present, pixels = np.unique(classes, return_counts=True)
            assert (row["classes"], row["pixels"]) == (present.tolist(), pixels.tolist())


def test_the_index_says_where_the_bytes_are(sharded: Path) -> None:
    files = members(sharded)
    index = pl.read_parquet(sharded / "index.parquet")
    assert index["key"].is_sorted()
    archives = {path.stem: path.read_bytes() for path in sharded.glob("*.tar")}
    for row in index.iter_rows(named=True):
        content = archives[row["shard"]]
        image = content[row["image_offset"] : row["image_offset"] + row["image_bytes"]]
        assert image == files[row["member"] + row["image_suffix"]]
        if row["mask_offset"] is not None:
            mask = content[row["mask_offset"] : row["mask_offset"] + row["mask_bytes"]]
            assert mask == files[f"{row['member']}.mask.png"]


def test_masks_whose_labels_stay_are_copied_byte_for_byte(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=30, orphans=1, zero_masks=10, size=64, workers=1)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    shard(workspace=tmp_path / "out", workers=1)
    stored = {content for name, content in members(tmp_path / "out" / "shards").items() if name.endswith(".png")}
    source = {path.with_name(f"{path.stem}_mask.png").read_bytes() for path in (tmp_path / "data").rglob("*.jpg")}
    assert stored == source


def test_shards_describe_themselves(sharded: Path, shared_site: Site) -> None:
    document = json.loads((sharded / "shards.json").read_text())
    assert document["map"] == "three"
    assert document["classes"] == ["Unknown", "Tumour", "Stroma"]
    assert document["labels"][1] == list(range(2, 10))
    assert document["samples"] == len(shared_site.images)
    summary = json.loads((shared_site.workspace / "audit.json").read_text())
    assert document["manifest_digest"] == summary["manifest_digest"]
    for one in document["shards"]:
        printed = subprocess.run(
            ["sha256sum", sharded / f"{one['name']}.tar"], capture_output=True, text=True, check=True
        )
        assert printed.stdout.split()[0] == one["sha256"]
    assert {path.name for path in sharded.iterdir()} == {
        *(f"{one['name']}.tar" for one in document["shards"]),
        *("index.parquet", "shards.json", ".lock"),
    }


def test_tar_lists_and_unpacks_them_without_a_word(sharded: Path, tmp_path: Path) -> None:
    for path in sharded.glob("*.tar"):
        printed = subprocess.run(["tar", "xvf", path, "-C", tmp_path], capture_output=True, text=True, check=True)
        assert printed.stderr == ""
    unpacked = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert unpacked == members(sharded)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves archives open
def test_webdataset_reads_them(sharded: Path, shared_site: Site) -> None:
    import webdataset

    urls = [str(path) for path in sorted(sharded.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert {json.loads(sample["json"])["key"] for sample in samples} == set(shared_site.images)
    for sample in samples:
        key = json.loads(sample["json"])["key"]
        assert sample[shared_site.images[key].suffix.lower()[1:]] == shared_site.images[key].read_bytes()
        assert ("mask.png" in sample) == (shared_site.labels[key] is not None)


def test_hugging_face_datasets_reads_them(tmp_path: Path, new_site: Callable[..., Site]) -> None:
    """In a process of its own, since it warns of many things that are not ours."""
    site = new_site(tmp_path, pairs=12)
    only = [path for path in site.images.values() if path.suffix == ".jpg"]
    for path in [path for path in site.images.values() if path not in only]:
        path.unlink()  # it wants the same parts in every sample
    for path in list(site.root.rglob("*_mask.*")):
        if not any(path.stem == f"{image.stem}_mask" for image in only):
            path.unlink()
    audit(site.root, workspace=site.workspace, workers=1)
    shard(workspace=site.workspace, map=site.map, workers=1)
    code = (
        "import datasets, sys, json\n"
        "rows = datasets.load_dataset('webdataset', data_files=sys.argv[1:], split='train', streaming=True)\n"
        "print(json.dumps([[r['json']['key'], r['jpg'].size, r['mask.png'].size] for r in rows]))"
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "PYTHONWARNINGS": "ignore",
    }
    shards = sorted(str(path) for path in (site.workspace / "shards").glob("*.tar"))
    printed = subprocess.run(
        [sys.executable, "-c", code, *shards], capture_output=True, text=True, env=environment, check=True
    )
    found = json.loads(printed.stdout)
    assert sorted(row[0] for row in found) == sorted(
        path.relative_to(site.root).with_suffix("").as_posix() for path in only
    )
    assert all(row[1:] == [[48, 48], [48, 48]] for row in found)


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=600, orphans=2, zero_masks=300, size=64, workers=2)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=2)
    trees = []
    for workers in (1, 2, 4):
        folder = tmp_path / f"shards-{workers}"
        result = shard(workspace=tmp_path / "out", out=folder, shard_mb=SMALL, workers=workers)
        assert result.written == len(list(folder.glob("*.tar"))) > 2
        trees.append(tree(folder))
    assert trees[0] == trees[1] == trees[2]


def test_a_second_run_writes_nothing(sharded: Path, shared_site: Site) -> None:
    before = {path: path.stat().st_mtime_ns for path in sharded.glob("*.tar")}
    result = shard(workspace=shared_site.workspace, map=shared_site.map, out=sharded, shard_mb=SMALL, workers=1)
    assert (result.written, result.present) == (0, len(before))
    assert {path: path.stat().st_mtime_ns for path in sharded.glob("*.tar")} == before


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=800, orphans=2, zero_masks=60, size=64, workers=2)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=2)
    command = [sys.executable, "-m", "histods", "shard", "-w", str(tmp_path / "out"), "--shard-mb", str(SMALL)]
    command += ["--map", "label_map_10.yml", "--workers", "2", "--quiet", "--out"]
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "undisturbed")], check=True)
    whole = time.monotonic() - started
    # Moments of all stages of the work, each a random one of its stage.
    spread = random.Random(0)
    moments = [0.2 + 0.7 * (stage + spread.random()) / 4 for stage in range(4)]
    spread.shuffle(moments)
    killed = 0
    for attempt, moment in enumerate(moments):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], start_new_session=True)
        time.sleep(moment * whole)
        os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for path in (tmp_path / "killed").glob("*.tar"):  # what has its final name is whole
            assert path.read_bytes() == (tmp_path / "undisturbed" / path.name).read_bytes()
        if attempt % 2:
            shard(
                map="label_map_10.yml",
                workspace=tmp_path / "out",
                out=tmp_path / "killed",
                shard_mb=SMALL,
                workers=2,
            )
            assert tree(tmp_path / "killed") == tree(tmp_path / "undisturbed")
            shutil.rmtree(tmp_path / "killed")
    assert killed


def test_new_samples_are_appended_and_old_shards_stay(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=300, orphans=0, zero_masks=50, size=64, workers=2)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    shard(workspace=tmp_path / "out", shard_mb=SMALL, workers=1)
    folder = tmp_path / "out" / "shards"
    before = tree(folder)
    make_benchmark(tmp_path / "data" / "more", pairs=200, orphans=0, zero_masks=50, size=64, workers=2)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    result = shard(workspace=tmp_path / "out", shard_mb=SMALL, workers=1)
    after = tree(folder)
    assert {name: after[name] for name in before if name.endswith(".tar")} == {
        name: content for name, content in before.items() if name.endswith(".tar")
    }
    assert result.written >= 1
    assert result.splits["all"][1] == 500
    assert sum(name.endswith(".json") for name in members(folder)) == 500
    assert shard(workspace=tmp_path / "out", verify=True).verified


def test_each_split_has_its_own_shards(site: Site) -> None:
    split(workspace=site.workspace, test=0.25)
    sides = dict(pl.read_parquet(site.workspace / "split.parquet").iter_rows())
    result = shard(workspace=site.workspace, map=site.map, workers=1)
    folder = site.workspace / "shards"
    assert set(result.splits) == {"test", "train"}
    for row in pl.read_parquet(folder / "index.parquet").iter_rows(named=True):
        assert row["split"] == sides[row["key"]] == row["shard"].rsplit("-", 1)[0]
    alone = shard(workspace=site.workspace, map=site.map, split=["test"], out=site.root.parent / "test", workers=1)
    assert set(alone.splits) == {"test"}
    assert alone.left_out == sum(side == "train" for side in sides.values())
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, split=["valid"])) == (
        "There is no split 'valid'; give --split one of test, train."
    )


def test_a_missing_shard_is_written_again_with_the_same_bytes(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    folder = site.workspace / "shards"
    before = tree(folder)
    (folder / "all-00000.tar").unlink()
    assert shard(workspace=site.workspace, map=site.map, workers=1).written == 1
    assert tree(folder) == before


def damage_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def test_damage_is_named(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    folder = site.workspace / "shards"
    sound = tree(folder)
    row = pl.read_parquet(folder / "index.parquet").row(3, named=True)
    start, ending = (
        f"The shards in {folder} are not sound: all-00000.tar ",
        ("; remove what is wrong and run 'histods shard' again."),
    )

    def verdict() -> str:
        text = refusal(lambda: shard(workspace=site.workspace, verify=True, workers=1))
        assert text.startswith(start)
        assert text.endswith(ending)
        for name, content in sound.items():
            (folder / name).write_bytes(content)
        return text.removeprefix(start).removesuffix(ending)

    archive = folder / "all-00000.tar"
    damage_byte(archive, row["image_offset"] + 5)
    name = row["member"] + row["image_suffix"]
    assert verdict() == f"is damaged: the bytes of {name} are not those that were written"
    damage_byte(archive, row["image_offset"] - 300)
    assert verdict() == f"is damaged: the header at byte {row['image_offset'] - 512:,} is damaged"
    whole = archive.stat().st_size
    os.truncate(archive, whole - 512)
    assert verdict() == f"has {whole - 512:,} bytes instead of {whole:,}"
    archive.unlink()
    assert verdict() == "is missing"
    json_place = sound["all-00000.tar"].index(b'{"key":')
    damage_byte(archive, json_place + 3)
    assert verdict() == "is damaged outside its images and masks: its SHA-256 is not the one in shards.json"


def test_an_index_of_another_dataset_is_named(site: Site, tmp_path: Path, new_site: Callable[..., Site]) -> None:
    other = new_site(tmp_path / "other", pairs=12, seed=3)
    for one in (site, other):
        shard(workspace=one.workspace, map=one.map, workers=1)
    folder = site.workspace / "shards"
    shutil.copy(other.workspace / "shards" / "index.parquet", folder)
    expected = (
        f"The shards in {folder} are not sound: index.parquet is not the one that shards.json "
        "describes; remove what is wrong and run 'histods shard' again."
    )
    assert refusal(lambda: shard(workspace=site.workspace, verify=True)) == expected
    assert refusal(lambda: ShardSet.read(folder)) == expected


@pytest.mark.parametrize("wrong", [None, b"not Parquet", b""])
def test_a_missing_or_foreign_index_is_made_again_with_the_same_bytes(site: Site, wrong: bytes | None) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    folder = site.workspace / "shards"
    before = tree(folder)
    (folder / "index.parquet").unlink()
    if wrong is not None:
        (folder / "index.parquet").write_bytes(wrong)
    shard(workspace=site.workspace, map=site.map, workers=1)
    assert tree(folder) == before


def test_another_map_or_changed_samples_do_not_mix_with_what_is_there(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    folder = site.workspace / "shards"
    before = tree(folder)
    expected = (
        f"{folder} holds other shards: the label map 'three' changed since. "
        "Add --overwrite to replace them, or write to a new folder with --out."
    )
    site.map.write_text(site.map.read_text().replace("Tumour: [", "Tumour: [1, ").replace("[0, 1]", "[0]"))
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, workers=1)) == expected
    assert tree(folder) == before
    shard(workspace=site.workspace, map=site.map, workers=1, overwrite=True)
    fresh = site.workspace / "fresh"
    shard(workspace=site.workspace, map=site.map, workers=1, out=fresh)
    assert tree(folder) == tree(fresh)


def test_a_file_that_changed_since_the_audit_is_named_and_nothing_torn_is_left(site: Site) -> None:
    key = sorted(site.images)[7]
    path = site.images[key]
    path.write_bytes(path.read_bytes() + b" ")
    named = path.relative_to(site.root).as_posix()
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, workers=1)) == (
        f"{named} is not as the audit read it: it has another size or time; run 'histods audit "
        f"{site.root} --group-regex '^(slide\\.\\d)' --allow-unpaired --hash -w {site.workspace}' again."
    )
    assert not list((site.workspace / "shards").glob("*.tar"))
    audit(
        site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1, hash=True
    )
    assert shard(workspace=site.workspace, map=site.map, workers=1).splits["all"][1] == 40


def test_shards_never_go_into_the_dataset_or_beside_foreign_archives(site: Site, tmp_path: Path) -> None:
    inside = site.root / "shards"
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, out=inside)) == (
        f"{inside} is not outside the dataset {site.root}, which is never written to; choose another place "
        "for --out."
    )
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.tar").write_bytes(b"x")
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, out=tmp_path / "foreign")) == (
        f"{tmp_path / 'foreign'} holds mine.tar, which is not of this command; choose a new folder with --out."
    )
    assert (tmp_path / "foreign" / "mine.tar").read_bytes() == b"x"
    assert refusal(lambda: shard(workspace=site.workspace, shard_mb=0)) == (
        "--shard-mb 0 is below 1; 512 is usual."
    )
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, split=["train"])) == (
        f"There is no split in {site.workspace} yet, so --split train names nothing; run 'histods split'."
    )
    assert refusal(lambda: shard(workspace=site.workspace, verify=True)) == (
        f"There are no finished shards in {site.workspace / 'shards'} (no shards.json); run 'histods shard --out "
        f"{site.workspace / 'shards'}'."
    )


def test_the_command_prints_tables_or_json(site: Site) -> None:
    command = ["shard", "-w", site.workspace, "--map", site.map]
    printed = histods(*command, "--json")
    document = json.loads(printed.stdout)
    assert document["splits"]["all"]["samples"] == 40
    assert document["written"] == 1
    assert "Shards of three" in printed.stderr
    checked = histods(*command, "--verify")
    assert checked.returncode == 0
    assert "was read and is as it was written." in " ".join(checked.stdout.split())
    os.truncate(site.workspace / "shards" / "all-00000.tar", 1000)
    failed = histods(*command, "--verify")
    assert failed.returncode == 2
    assert failed.stderr.startswith("histods: The shards in")
    assert len(failed.stderr.splitlines()) == 1


def test_a_mask_that_decayed_without_a_new_time_is_named(site: Site) -> None:
    """Same size and time, other bytes: only decoding it shows that."""
    held = {k: labels for k, labels in site.labels.items() if labels is not None}
    key = next(k for k in sorted(site.images) if k in held and len(np.unique(held[k])) > 3)
    mask = next(site.images[key].parent.glob(f"{site.images[key].stem}_mask.*"))
    before = mask.stat()
    content = bytearray(mask.read_bytes())
    content[len(content) // 2] ^= 0x55
    mask.write_bytes(content)
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    text = refusal(lambda: shard(workspace=site.workspace, map=site.map, workers=1))
    assert text.startswith(f"{mask.relative_to(site.root)} does not have the pixels that were audited (")
    assert text.endswith("--fresh'.")


def test_an_archive_of_somebody_else_is_never_replaced(site: Site) -> None:
    """Not even where it has the name that the next shard would get."""
    shard(workspace=site.workspace, map=site.map, workers=1)
    stranger = site.workspace / "shards" / "all-00001.tar"
    stranger.write_bytes(b"mine")
    make_benchmark(site.root / "more", pairs=5, orphans=0, zero_masks=1, size=48, workers=1)
    audit(
        site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1, hash=True
    )
    assert refusal(lambda: shard(workspace=site.workspace, map=site.map, workers=1)) == (
        f"{site.workspace / 'shards'} holds all-00001.tar, which is not of this command; choose a new "
        "folder with --out."
    )
    assert stranger.read_bytes() == b"mine"
