"""Any wrong byte of a shard is found, and what it belongs to is named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.shards.base import Shard
from histods.shards.images.shard_set import INDEX
from histods.shards.images.tar import END, header, padding
from histods.shards.images.verify import verify_shard

if TYPE_CHECKING:
    from pathlib import Path


def pack(*members: tuple[str, bytes]) -> bytes:
    return b"".join(header(name, len(one)) + one + padding(len(one)) for name, one in members) + END


MEMBERS = [
    ("a/x.jpg", b"image of x" * 70),
    ("a/x.mask.png", b"labels of x"),
    ("a/x.json", b"{}"),
    ("y.png", b"image of y, without a mask"),
    ("y.json", b"{}"),
]
CONTENT = pack(*MEMBERS)
SHARD = Shard(
    name="all-0",
    split="all",
    samples=2,
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    plan="",
)


def row(member: str, suffix: str, image: bytes, mask: bytes | None) -> dict[str, Any]:
    place = CONTENT.index(image)
    files: dict[str, Any] = {"image_offset": place, "image_bytes": len(image), "image_suffix": suffix}
    files["image_digest"] = xxhash.xxh3_64_intdigest(image)
    if mask is not None:
        files |= {"mask_offset": CONTENT.index(mask, place + len(image)), "mask_bytes": len(mask)}
        files["mask_digest"] = xxhash.xxh3_64_intdigest(mask)
    return dict.fromkeys(INDEX.names) | {"member": member} | files


ROWS = [row("a/x", ".jpg", MEMBERS[0][1], b"labels of x"), row("y", ".png", MEMBERS[3][1], None)]


def verdict(folder: Path, content: bytes | None, rows: list[dict[str, Any]] = ROWS, shard: Shard = SHARD) -> str:
    """The problem of an archive of this content, without its name; empty if there is none."""
    path = folder / "all-0.tar"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, INDEX) as writer:
        writer.write_table(INDEX.empty_table().from_pylist(rows, INDEX))
    problems = verify_shard([(str(folder), shard, bytes(sink.getvalue()))])
    assert len(problems) < 2
    return "".join(problems).removeprefix("all-0.tar ")


def test_a_sound_shard_has_no_problem(tmp_path: Path) -> None:
    assert verdict(tmp_path, CONTENT) == ""
    assert verify_shard([]) == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@settings(max_examples=80, deadline=None)
@given(byte=st.integers(0, len(CONTENT) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_and_named_for_what_it_is_in(place: Path, byte: int, bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[byte] ^= 1 << bit
    found = verdict(place, bytes(damaged))
    assert found
    for one in ROWS:
        for kind, name in (("image", one["member"] + one["image_suffix"]), ("mask", one["member"] + ".mask.png")):
            start, size = one[f"{kind}_offset"], one[f"{kind}_bytes"]
            if start is not None and start <= byte < start + size:
                assert found == f"is damaged: the bytes of {name} are not those that were written"


def test_other_files_and_other_sizes_are_named(tmp_path: Path) -> None:
    size = len(CONTENT)
    assert verdict(tmp_path, None) == "is missing"
    assert verdict(tmp_path, CONTENT[:-512]) == f"has {size - 512:,} bytes instead of {size:,}"
    assert verdict(tmp_path, b"") == f"has 0 bytes instead of {size:,}"
    assert verdict(tmp_path, bytes(size)).startswith("is damaged: no proper end")
    more = pack(*MEMBERS, ("z.json", b""))
    described = replace(SHARD, bytes=len(more), sha256=hashlib.sha256(more).hexdigest())
    assert verdict(tmp_path, more, shard=described) == "holds 1 files that the index does not list"
    moved = pack(MEMBERS[-1], *MEMBERS[:-1])
    assert verdict(tmp_path, moved) == "does not have a/x.jpg where the index says"
    assert verdict(tmp_path, CONTENT, ROWS[:1]) == "holds 2 files that the index does not list"
    assert verdict(tmp_path, CONTENT, shard=replace(SHARD, sha256="0" * 64)).endswith("not the one in shards.json")


def test_a_folder_in_the_place_of_a_shard_is_said(tmp_path: Path) -> None:
    (tmp_path / "all-0.tar").mkdir()
    assert verify_shard([(str(tmp_path), SHARD, b"")]) == ["all-0.tar cannot be read: Is a directory"]
