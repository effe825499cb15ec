"""Structure of WebP files: what Pillow writes, chunks written by hand, and files that end anywhere."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images.reader import check_image
from histods.images.webp import MAX_FRAMES, parse_webp


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def written(mode: str = "RGB", **options: object) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    colour = (200, 10, 60, 128) if mode == "RGBA" else (200, 10, 60)
    Image.new(mode, (8, 6), colour).save(buffer, "WEBP", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_transparency_is_found_in_both_kinds_of_picture(mode: str, lossless: bool) -> None:
    assert parse_webp(written(mode, lossless=lossless)) == (1, mode == "RGBA", 1)


def test_frames_of_an_animation_are_counted() -> None:
    frames = [Image.new("RGB", (8, 6), (40 * number, 0, 0)) for number in range(3)]
    assert parse_webp(written(save_all=True, append_images=frames)).frames == 4


def test_the_orientation_is_that_of_the_exif_data() -> None:
    exif = Image.Exif()
    exif[274] = 6
    assert parse_webp(written(exif=exif.tobytes())).orientation == 6


def test_a_part_of_odd_length_has_a_byte_of_padding() -> None:
    assert parse_webp(riff((b"ODD ", b"abc"), (b"ANMF", b""), (b"ANMF", b""))).frames == 2


@pytest.mark.parametrize(("kind", "number"), [(b"ANMF", MAX_FRAMES), (b"XXXX", 8 * MAX_FRAMES - 1)])
def test_as_many_parts_as_are_followed_are_taken_and_one_more_is_refused(kind: bytes, number: int) -> None:
    assert parse_webp(riff(*[(kind, b"")] * number)).frames == (number if kind == b"ANMF" else 1)
    with pytest.raises(UnreadableFileError, match="more than 1,000 pictures or parts: not decoded"):
        parse_webp(riff(*[(kind, b"")] * (number + 1)))


@pytest.mark.parametrize("picture", [written("RGBA"), written("RGBA", lossless=True), riff((b"VP8X", bytes(10)))])
def test_a_file_that_ends_anywhere_is_parsed_or_refused(picture: bytes) -> None:
    for size in range(len(picture)):
        assert parse_webp(picture[:size]).frames == 1
        if size:
            with pytest.raises(UnreadableFileError):
                check_image(picture[:size])


@given(st.lists(st.tuples(st.sampled_from([b"VP8X", b"VP8L", b"ANMF", b"EXIF", b"VP8 "]), st.binary(max_size=9))))
def test_any_parts_give_at_least_one_picture(chunks: list[tuple[bytes, bytes]]) -> None:
    found = parse_webp(riff(*chunks))
    assert found.frames == max(1, sum(kind == b"ANMF" for kind, _ in chunks))
    assert 1 <= found.orientation <= 8
