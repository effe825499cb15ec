"""USTAR members: the standard library reads what we write, and damage is found."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from histods.errors import UnreadableFileError
from histods.shards.images.tar import END, Member, header, iter_members, padding, safe_key, stored_size

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,40}(/[A-Za-z0-9_.-]{1,40})?", fullmatch=True)
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=150)


@given(name=NAMES, size=st.integers(0, 8**11 - 1))
def test_a_header_is_the_one_that_tarfile_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 946_684_800, 0o644
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@given(contents=st.dictionaries(NAMES, st.binary(max_size=1200), max_size=5))
def test_members_are_found_where_they_were_written(contents: dict[str, bytes]) -> None:
    archive = b"".join(header(name, len(c)) + c + padding(len(c)) for name, c in contents.items()) + END
    members = list(iter_members(memoryview(archive)))
    assert {m.name: archive[m.offset : m.offset + m.size] for m in members} == contents
    assert len(archive) == sum(stored_size(len(c)) for c in contents.values()) + len(END)
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        assert {i.name: file.extractfile(i).read() for i in file} == contents  # type: ignore[union-attr]


ARCHIVE = header("a.jpg", 5) + b"hello" + padding(5) + header("b.png", 0) + END


@pytest.mark.parametrize("length", [0, 3, 512, 700, 1024, 1536, 1600, len(ARCHIVE) - 1])
def test_a_truncated_archive_is_refused(length: int) -> None:
    with pytest.raises(UnreadableFileError):
        list(iter_members(memoryview(ARCHIVE[:length])))


@given(place=st.sampled_from([*range(512), *range(1024, len(ARCHIVE))]), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_header_or_the_end_is_refused(place: int, bit: int) -> None:
    damaged = bytearray(ARCHIVE)
    damaged[place] ^= 1 << bit
    with pytest.raises(UnreadableFileError):
        list(iter_members(memoryview(damaged)))


def test_where_an_archive_ends_is_said() -> None:
    members = iter_members(memoryview(ARCHIVE[:1300]))
    assert next(members) == Member("a.jpg", 512, 5)
    with pytest.raises(UnreadableFileError, match=r"^truncated after 1,024 bytes$"):
        next(members)


@given(keys=st.sets(KEYS, max_size=20))
@example(keys={":./", "a.b/", "a.b" * 40 + "/c"})
def test_safe_keys_are_short_plain_and_never_shared(keys: set[str]) -> None:
    safe = {safe_key(key) for key in keys}
    assert len(safe) == len(keys)
    for key in safe:
        assert key.isascii()
        assert 0 < len(key) <= 80
        assert not key.startswith("/")
        assert "." not in key.rpartition("/")[2]  # webdataset splits a name at the first dot of its last part
        assert not {"..", "."} & set(key.split("/"))


@pytest.mark.parametrize("key", ["x", "slide_1/patch-007", "tcga.svs/tile_3"])
def test_a_key_that_is_safe_stays_as_it_is(key: str) -> None:
    assert safe_key(key) == key


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("a b", "a_b-"),
        ("x.tiff-y_7", "x_tiff-y_7-"),
        ("../out/x", "__/out/x-"),
        ("日本", "__-"),
        ("/etc/x", "etc/x-"),
    ],
)
def test_an_unsafe_key_keeps_what_can_be_read(key: str, start: str) -> None:
    assert safe_key(key).startswith(start)
    assert len(safe_key(key)) == len(start) + 16
