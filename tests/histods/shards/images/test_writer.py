"""A shard holds each image byte for byte and each mask as classes, and a file that changed leaves no shard."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from PIL import Image

from histods.shards.images import writer
from histods.shards.images.shard_set import INDEX
from histods.shards.images.writer import SAMPLES, ShardOptions, plan_shard, write_shards
from histods.shards.resumable_write import collect_shards
from tests.histods.checks.mask_files import photograph, pillow

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOOKUP = np.zeros(65536, np.uint8)
LOOKUP[1:] = [1 + label % 2 for label in range(1, 65536)]  # even labels are class 1, odd ones class 2
KEPT = np.arange(65536, dtype=np.uint32).astype(np.uint8)  # labels below 256 stay as they are
MASKS: dict[str, NDArray[Any] | None] = {
    "ä/grey": np.tri(60, 80, dtype=np.uint8) * 5,
    "wide": np.tri(60, 80).astype(np.uint16) * 700,
    "constant": np.full((60, 80), 8, np.uint8),
    "zero": np.zeros((60, 80), np.uint8),
    "none": None,
}


def sample(root: Path, key: str, labels: NDArray[Any] | None, lookup: NDArray[np.uint8]) -> dict[str, Any]:
    """The row of a sample whose files are written here."""
    image, mask = f"{key}.JPG", None if labels is None else f"{key}_mask.png"
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    (root / image).write_bytes(pillow(photograph(len(key)), "JPEG"))
    row: dict[str, Any] = dict.fromkeys(SAMPLES.names) | {"width": 80, "height": 60}
    row |= {"key": key, "member": key.replace("ä", "a"), "split": "train", "role": "conditional", "group": None}
    if labels is not None and mask is not None:
        (root / mask).write_bytes(pillow(labels))
        classes, pixels = np.unique(lookup[labels], return_counts=True)
        values = {"labels": np.unique(labels).tolist(), "classes": classes.tolist(), "pixels": pixels.tolist()}
        row |= values
    for kind, path in (("image", image), ("mask", mask)):
        if path is not None:
            status = (root / path).stat()
            files = {"path": path, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
            row |= {f"{kind}_{name}": value for name, value in files.items()}
    return row


def dataset(folder: Path, lookup: NDArray[np.uint8] = LOOKUP) -> tuple[pa.Table, ShardOptions]:
    """All kinds of masks, written; the rows of their samples, and where shards go."""
    root, out = folder / "data", folder / "shards"
    out.mkdir(parents=True)
    rows = [sample(root, key, labels, lookup) for key, labels in MASKS.items()]
    options = ShardOptions(
        root=str(root), folder=str(out), lookup=lookup, map_digest="1", audit="histods audit data"
    )
    return SAMPLES.empty_table().from_pylist(rows, SAMPLES), options


def written(table: pa.Table, options: ShardOptions) -> bytes:
    assert write_shards([plan_shard("all-0", table, options)], options=options) is None
    with open(f"{options.folder}/all-0.tar", "rb") as file:  # noqa: PTH123
        return file.read()


def test_tarfile_finds_every_image_as_it_was_and_every_mask_as_classes(tmp_path: Path) -> None:
    table, options = dataset(tmp_path)
    content = written(table, options)
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        members = {member.name: file.extractfile(member).read() for member in file}  # type: ignore[union-attr]
    assert len(members) == 3 * len(MASKS) - 1
    for row in table.to_pylist():
        name = row["member"]
        assert members[f"{name}.jpg"] == (tmp_path / "data" / row["image_path"]).read_bytes()
        labels = MASKS[row["key"]]
        if labels is not None:
            found = Image.open(io.BytesIO(members[f"{name}.mask.png"]))
            assert found.mode == "L"
            np.testing.assert_array_equal(np.asarray(found), LOOKUP[labels])
        about = json.loads(members[f"{name}.json"])
        assert (about["key"], about["classes"], about["pixels"]) == (row["key"], row["classes"], row["pixels"])


def test_the_index_says_where_the_bytes_are_and_what_they_are(tmp_path: Path) -> None:
    table, options = dataset(tmp_path)
    content = written(table, options)
    (shard,), index = collect_shards(tmp_path / "shards", INDEX.empty_table())
    assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert index["key"].to_pylist() == sorted(MASKS)
    for row in index.to_pylist():
        for kind in ("image", "mask"):
            start, size, digest = (row[f"{kind}_{name}"] for name in ("offset", "bytes", "digest"))
            if start is None:
                assert (kind, MASKS[row["key"]]) == ("mask", None)
            else:
                assert xxhash.xxh3_64_intdigest(content[start : start + size]) == digest


def test_a_mask_whose_labels_stay_is_copied_and_others_are_not(tmp_path: Path) -> None:
    table, options = dataset(tmp_path, KEPT)
    content = written(table, options)
    index = collect_shards(tmp_path / "shards", INDEX.empty_table())[1]
    copied = {
        row["key"]
        for row in index.to_pylist()
        if row["mask_offset"] is not None
        and content[row["mask_offset"] : row["mask_offset"] + row["mask_bytes"]]
        == (tmp_path / "data" / f"{row['key']}_mask.png").read_bytes()
    }
    assert copied == {"ä/grey", "constant", "zero"}


def test_pieces_and_batches_of_any_size_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, options = dataset(tmp_path)
    whole = written(table, options)
    monkeypatch.setattr(writer, "_WRITE_BYTES", 1)
    monkeypatch.setattr(writer, "_ROWS", 2)
    assert written(table, options) == whole


def test_a_plan_has_another_digest_for_other_samples_or_options_alone(tmp_path: Path) -> None:
    table, options = dataset(tmp_path)
    plan = plan_shard("all-0", table, options)
    assert plan_shard("x", table.select([*reversed(table.column_names)]), options).digest == plan.digest
    others = [
        plan_shard("all-0", table.slice(1), options),
        *(
            plan_shard("all-0", table, replace(options, **change))
            for change in ({"map_digest": "2"}, {"colours": {1: (0, 0, 0)}}, {"nearest": True})
        ),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == 5
    assert plan_shard("all-0", table, replace(options, folder="/elsewhere", root="/moved")).digest == plan.digest


@pytest.mark.parametrize("change", ["gone", "grew", "touched", "decayed", "file in the way"])
def test_a_file_that_changed_since_the_audit_is_named_and_no_shard_is_left(tmp_path: Path, change: str) -> None:
    table, options = dataset(tmp_path)
    path = tmp_path / "data" / "wide_mask.png"
    match change:
        case "gone":
            path.unlink()
        case "grew":
            path.write_bytes(path.read_bytes() + b"x")
        case "touched":
            os.utime(path, ns=(1, 1))
        case "decayed":
            status, content = path.stat(), bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0x10
            path.write_bytes(content)
            os.utime(path, ns=(1, status.st_mtime_ns))
        case "file in the way":
            (tmp_path / "shards").rmdir()
            (tmp_path / "shards").touch()
    said = write_shards([plan_shard("all-0", table, options)], options=options)
    assert said is not None
    assert "\n" not in said
    if change == "file in the way":
        assert said.startswith("all-0.tar could not be written (")
    else:
        assert said.startswith("wide_mask.png ")
        assert "run 'histods audit data" in said
        assert [*(tmp_path / "shards").iterdir()] == []
