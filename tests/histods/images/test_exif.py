"""Orientation in EXIF data: both byte orders, both types, and anything at all instead of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.images.exif import find_orientation

ORDERS = ("<", ">")


def exif(order: str, entries: list[tuple[int, int, bytes]]) -> bytes:
    """A directory with entries of a tag, a type and the four bytes of the value."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, len(entries))
    body = b"".join(struct.pack(order + "HHI", tag, kind, 1) + value for tag, kind, value in entries)
    return head + body + bytes(4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("signature", [b"", b"Exif\0\0"])
def test_the_orientation_is_found_behind_other_tags(order: str, value: int, signature: bytes) -> None:
    short, wide = struct.pack(order + "HH", value, 0), struct.pack(order + "I", value)
    for kind, stored in ((3, short), (4, wide), (1, bytes([value, 0, 0, 0]))):
        assert find_orientation(signature + exif(order, [(256, 4, bytes(4)), (274, kind, stored)])) == value


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_value_that_is_no_orientation_counts_as_none(value: int) -> None:
    assert find_orientation(exif("<", [(274, 3, struct.pack("<HH", value, 0))])) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_data_that_end_early_give_none(order: str) -> None:
    whole = exif(order, [(274, 3, struct.pack(order + "HH", 6, 0))])
    assert {find_orientation(whole[:size]) for size in range(18)} == {1}


def test_a_directory_without_the_tag_gives_none() -> None:
    assert find_orientation(exif(">", [])) == find_orientation(exif(">", [(256, 3, bytes(4))])) == 1


@given(order=st.sampled_from([b"II", b"MM", b"Exif\0\0II", b""]), data=st.binary(max_size=60))
def test_any_bytes_give_an_orientation(order: bytes, data: bytes) -> None:
    assert 1 <= find_orientation(order + data) <= 8
