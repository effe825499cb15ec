"""Directories of TIFF tags: classic and big, both byte orders, chains, circles and ends."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import UnreadableFileError
from histods.images.tiff_tags import MAX_DIRECTORIES, Tags, read_directories

FORMS = [(order, big) for order in "<>" for big in (False, True)]
FORM_IDS = ["little", "little-big", "big-endian", "big-endian-big"]
Entry = tuple[int, int, int, bytes]


def tiff(order: str, big: bool, directories: list[list[Entry]], last: int = 0) -> bytes:
    """A file of directories one after the other; entries are tag, type, count and the bytes of value or place.

    `last` is where the last directory says that another one follows.
    """
    word, counter = ("Q", "Q") if big else ("I", "H")
    head = {"<": b"II", ">": b"MM"}[order]
    head += struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    for number, entries in enumerate(directories):
        body = struct.pack(order + counter, len(entries))
        for tag, kind, count, value in entries:
            body += struct.pack(order + "HH" + word, tag, kind, count) + value.ljust(8 if big else 4, b"\0")
        end = len(head) + len(body) + struct.calcsize(word)
        head += body + struct.pack(order + word, end if number < len(directories) - 1 else last)
    return head


@pytest.mark.parametrize(("order", "big"), FORMS, ids=FORM_IDS)
def test_a_value_that_fits_stands_in_its_entry_and_others_elsewhere(order: str, big: bool) -> None:
    word = "Q" if big else "I"
    inline = (256, 3, 1, struct.pack(order + "H", 700))
    outside = (273, 4, 5, struct.pack(order + word, 200))
    content = tiff(order, big, [[inline, outside]]).ljust(200, b"\0") + struct.pack(order + "5I", *range(5))
    (tags,) = read_directories(content)
    assert tags.value(256, 0) == 700
    assert tags.values(273).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("order", "big"), FORMS, ids=FORM_IDS)
def test_directories_come_in_the_order_of_their_chain(order: str, big: bool) -> None:
    pages: list[list[Entry]] = [[(256, 3, 1, struct.pack(order + "H", page))] for page in (5, 6, 7)]
    assert [tags.value(256, 0) for tags in read_directories(tiff(order, big, pages))] == [5, 6, 7]


def first(*entries: Entry) -> Tags:
    return next(read_directories(tiff("<", False, [list(entries)])))


def test_what_is_missing_or_no_integer_has_the_default() -> None:
    tags = first((282, 5, 1, bytes(4)), (270, 2, 4, b"abc\0"), (256, 3, 0, b""))
    assert [tags.value(tag, 9) for tag in (282, 270, 256, 999)] == [9, 9, 9, 9]
    assert not tags.values(282).size


def test_of_a_tag_that_is_there_twice_the_first_counts() -> None:
    assert first((256, 3, 1, b"\1\0"), (256, 3, 1, b"\2\0")).value(256, 0) == 1


def test_negative_values_stay_negative() -> None:
    assert first((256, 9, 1, struct.pack("<i", -3))).value(256, 0) == -3


@pytest.mark.parametrize("place", [0, 8, 1 << 31])
def test_values_past_the_end_are_refused(place: int) -> None:
    with pytest.raises(ValueError, match=str(place)):
        first((273, 4, 1 << 20, struct.pack("<I", place))).values(273)


def test_a_chain_that_leads_in_a_circle_is_damaged() -> None:
    content = tiff("<", False, [[(256, 3, 1, b"\1\0")]] * 2, last=8)
    with pytest.raises(UnreadableFileError, match="lead in a circle"):
        list(read_directories(content))


def test_so_many_directories_are_followed_and_no_more() -> None:
    assert len(list(read_directories(tiff("<", False, [[]] * MAX_DIRECTORIES)))) == MAX_DIRECTORIES
    with pytest.raises(UnreadableFileError, match="more than 1,000 pages in one TIFF"):
        list(read_directories(tiff("<", False, [[]] * (MAX_DIRECTORIES + 1))))


def test_a_chain_ends_where_a_later_directory_is_past_the_end() -> None:
    assert len(list(read_directories(tiff("<", False, [[]], last=1 << 30)))) == 1


def test_a_first_directory_past_the_end_is_an_error() -> None:
    with pytest.raises(struct.error):
        list(read_directories(b"II*\0" + struct.pack("<I", 1 << 30)))


@given(
    head=st.sampled_from([b"II*\0\10\0\0\0", b"MM\0*\0\0\0\10", b"II+\0\10\0\0\0"]), body=st.binary(max_size=80)
)
def test_any_bytes_give_directories_or_one_of_the_errors_that_are_promised(head: bytes, body: bytes) -> None:
    try:
        found = list(read_directories(head + body))
    except (UnreadableFileError, struct.error, OverflowError):
        return
    assert found
