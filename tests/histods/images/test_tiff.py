"""Labels of TIFF masks are the stored values, whatever Pillow makes of them; variants it lacks are named."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from histods.errors import NotAnIndexMaskError, UnreadableFileError
from histods.images.header import MAX_PIXELS
from histods.images.reader import check_image, decode_mask, decode_rgb, identify_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Tags = dict[int, "int | Sequence[int] | bytes"]
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIPS, LENGTHS = 273, 279
CHANNELS, PLANES, COLOUR_MAP, EXTRA, SAMPLE_FORMAT, XMP = 277, 284, 320, 338, 339, 700
COLOURS = {0: (255, 255, 255), 7: (7, 7, 7)}


def write_tiff(data: bytes, tags: Tags, *, order: str = "<", big: bool = False, pages: int = 1) -> bytes:
    """A TIFF file by hand: the data in one strip, then as many directories with the same tags."""
    number, inline, start = ("Q", 8, 16) if big else ("I", 4, 8)
    body = data + b"\0" * (-len(data) % 8)
    table = b""
    tags = {STRIPS: start, LENGTHS: len(data), **tags}
    for tag, value in sorted(tags.items()):
        values = (value,) if isinstance(value, int) else tuple(value)
        kind = 1 if isinstance(value, bytes) else 3 if max(values) < 65536 else 4
        packed = struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind] * len(values), *values)
        if len(packed) > inline:
            place, body = start + len(body), body + packed + b"\0" * (-len(packed) % 8)
            packed = struct.pack(order + number, place)
        table += struct.pack(order + "HH" + number, tag, kind, len(values)) + packed.ljust(inline, b"\0")
    first = start + len(body)
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    size = len(count) + len(table) + inline
    for page in range(1, pages + 1):
        body += count + table + struct.pack(order + number, first + page * size if page < pages else 0)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    return head + struct.pack(order + number, first) + body


def write_grey(
    pixels: NDArray[np.generic], bits: int, *, packed: bool = False, order: Literal["<", ">"] = "<", **more: int
) -> bytes:
    """A mask of one channel; `more` may give `photometric`, `planes`, `orientation`, `sample_format`."""
    height, width = pixels.shape
    if bits >= 8:
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    else:
        spread = np.unpackbits(pixels.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        data = np.packbits(spread.reshape(height, -1), axis=1).tobytes()
    tags: Tags = {WIDTH: width, HEIGHT: height, BITS: bits, CHANNELS: 1, COMPRESSION: 8 if packed else 1}
    tags |= {PHOTOMETRIC: more.get("photometric", 1), PLANES: more.get("planes", 1)}
    tags |= {ORIENTATION: more.get("orientation", 1), SAMPLE_FORMAT: more.get("sample_format", 1)}
    if tags[PHOTOMETRIC] == 3:
        tags[COLOUR_MAP] = [65535 - entry for entry in range(3 * 2**bits)]
    return write_tiff(zlib.compress(data) if packed else data, tags, order=order)


def write_channels(pixels: NDArray[np.generic], photometric: int, **more: int) -> bytes:
    """[height, width, channels] pixels; `more` may give `extra`, `sample_format` and `compression`."""
    height, width, channels = pixels.shape
    tags: Tags = {WIDTH: width, HEIGHT: height, CHANNELS: channels, PHOTOMETRIC: photometric}
    tags |= {BITS: [pixels.dtype.itemsize * 8] * channels, COMPRESSION: more.get("compression", 1)}
    tags |= {SAMPLE_FORMAT: [more.get("sample_format", 1)] * channels}
    if "extra" in more:
        tags[EXTRA] = more["extra"]
    return write_tiff(pixels.tobytes(), tags)


def refusal(content: bytes, colours: dict[int, tuple[int, int, int]] | None = None) -> str:
    """Why a sound file's values are not labels; the header is known all the same."""
    with pytest.raises(NotAnIndexMaskError) as caught:
        decode_mask(content, colours)
    identify_mask(content)
    return str(caught.value)


def reason(content: bytes) -> str:
    """Why a file cannot be read as an image: its structure's check and its decoder agree."""
    with pytest.raises(UnreadableFileError) as inspected:
        check_image(content)
    with pytest.raises(UnreadableFileError) as decoded:
        decode_rgb(content)
    assert str(decoded.value) == str(inspected.value)
    return str(decoded.value)


@settings(max_examples=150, deadline=None)
@given(
    *(st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 1, 3]), st.booleans(), st.sampled_from("<>")),
    *(st.integers(1, 8), st.sampled_from([1, 2]), st.data()),
)
def test_values_are_labels_as_stored_whatever_the_tags_say_of_showing_them(
    bits: int,
    photometric: int,
    packed: bool,
    order: Literal["<", ">"],
    orientation: int,
    planes: int,
    data: st.DataObject,
) -> None:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
    pixels = data.draw(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 2**bits - 1)))
    content = write_grey(
        pixels, bits, packed=packed, order=order, photometric=photometric, orientation=orientation, planes=planes
    )
    mask = decode_mask(content)
    np.testing.assert_array_equal(mask.labels, pixels)
    assert mask.kind == {3: "palette"}.get(photometric, "bilevel" if bits == 1 else "gray8")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(np.uint16, 1, 0), (np.uint16, 1, 1), (np.int16, 2, 1), (np.uint32, 1, 1), (np.int32, 2, 1)]),
    st.booleans(),
    st.sampled_from([1, 2]),
    hnp.arrays(np.uint16, (3, 5), elements=st.integers(0, 32767)),
)
def test_wide_values_are_labels_as_stored(
    storage: tuple[type[np.generic], int, int], packed: bool, planes: int, pixels: NDArray[np.uint16]
) -> None:
    dtype, sample_format, photometric = storage
    wide = pixels.astype(dtype)
    more: dict[str, Any] = {"planes": planes, "sample_format": sample_format, "photometric": photometric}
    content = write_grey(wide, wide.dtype.itemsize * 8, packed=packed, **more)
    np.testing.assert_array_equal(decode_mask(content).labels, pixels)


def test_signed_and_wide_values_that_are_no_labels_are_told_as_they_are() -> None:
    signed = np.array([[0, -3], [5, 2]], dtype=np.int8)
    assert refusal(write_grey(signed, 8, sample_format=2)) == "values from -3 to 5, labels go from 0 to 65535"
    np.testing.assert_array_equal(
        decode_mask(write_grey(np.abs(signed), 8, sample_format=2)).labels, np.abs(signed)
    )
    wide = np.array([[0, 2**32 - 1]], dtype=np.uint32)
    assert refusal(write_grey(wide, 32)) == "values from 0 to 4294967295, labels go from 0 to 65535"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("colours", [None, COLOURS])
def test_sixteen_bit_colours_are_no_labels(
    tmp_path: Path, channels: int, colours: dict[int, tuple[int, int, int]] | None
) -> None:
    path = tmp_path / "x_mask.tif"
    pixels = np.full((8, 8, channels), 7, dtype=np.uint16)
    cv2.imwrite(str(path), pixels)
    expected = f"{channels} channels of 16 bits, which are not labels"
    assert refusal(path.read_bytes(), colours) == expected
    assert identify_mask(path.read_bytes())[1] == "other"
    assert refusal(write_channels(pixels, 2), colours) == expected
    assert refusal(cv2.imencode(".png", pixels)[1].tobytes(), colours) == expected


NO_LABELS = "{} channels of {} bits, which are not labels"
FRACTIONS = "fractions (floating point), which are not labels"


def ones(channels: int, dtype: type[np.generic] = np.uint8) -> NDArray[np.generic]:
    return np.ones((4, 6, channels), dtype)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (write_channels(ones(2), 1, extra=0), NO_LABELS.format(2, 8)),
        (write_channels(ones(2), 1), NO_LABELS.format(2, 8)),
        (write_channels(ones(2, np.uint16), 1), NO_LABELS.format(2, 16)),
        (write_channels(ones(4), 2, extra=0), NO_LABELS.format(4, 8)),
        (write_channels(ones(4), 1), NO_LABELS.format(4, 8)),
        (write_channels(ones(4), 5), NO_LABELS.format(4, 8)),
        (write_channels(ones(3), 8), NO_LABELS.format(3, 8)),
        (write_channels(ones(3, np.float32), 2, sample_format=3), FRACTIONS),
    ],
)
def test_channels_and_fractions_are_never_dropped(content: bytes, expected: str) -> None:
    assert refusal(content) == expected
    assert refusal(content, COLOURS) == expected


def test_grey_stored_as_colours_stays_readable() -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    opaque = np.full_like(grey, 255)
    for content, kind in (
        (write_channels(np.stack([grey] * 3, axis=2), 2), "rgb"),
        (write_channels(np.stack([grey] * 3 + [opaque], axis=2), 2, extra=2), "rgba"),
        (write_channels(np.stack([grey] * 3 + [opaque], axis=2), 2), "rgba"),
        (write_channels(np.stack([grey, opaque], axis=2), 1, extra=2), "gray_alpha"),
    ):
        mask = decode_mask(content)
        assert mask.kind == kind
        np.testing.assert_array_equal(mask.labels, grey)


UNSUPPORTED = "a variant of TIFF that is not supported ({}); convert it to PNG or plain TIFF"
SIGNED = ones(1, np.int16)[..., 0]
PLAIN: Tags = {WIDTH: 6, HEIGHT: 4, BITS: 8, PHOTOMETRIC: 1}
PLANAR: Tags = {WIDTH: 6, HEIGHT: 4, BITS: [16] * 3, CHANNELS: 3, PHOTOMETRIC: 2, PLANES: 2}
PLANAR |= {STRIPS: [8, 56, 104], LENGTHS: [48] * 3}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (write_channels(ones(3, np.float32), 2, sample_format=3), "3 channels of 32 bits, floating point, RGB"),
        (write_channels(ones(5), 1), "5 channels of 8 bits, unsigned, grey"),
        (write_channels(ones(9), 1), "9 channels of 8 bits, unsigned, grey"),
        *(
            (
                write_channels(ones(3), 2, compression=number),
                f"3 channels of 8 bits, unsigned, RGB, compression {name}",
            )
            for number, name in ((33005, "33005 = JPEG 2000"), (50001, "50001 = WebP"), (60000, "60000"))
        ),
        (write_channels(ones(1, np.uint64), 1), "1 channel of 64 bits, unsigned, grey"),
        (
            write_grey(SIGNED, 16, order=">", photometric=0),
            "1 channel of 16 bits, unsigned, grey, 0 is white, big-endian",
        ),
        (
            write_grey(SIGNED, 16, order=">", sample_format=2, packed=True),
            "1 channel of 16 bits, signed, grey, compression 8, big-endian",
        ),
        (
            write_tiff(b"\1" * 24, PLAIN, order=">", big=True),
            "1 channel of 8 bits, unsigned, grey, big-endian BigTIFF",
        ),
        (write_tiff(b"\1" * 144, PLANAR), "3 channels of 16 bits, unsigned, RGB, separate channels"),
    ],
)
def test_a_sound_file_of_another_variant_is_not_called_damaged(content: bytes, what: str) -> None:
    assert reason(content) == UNSUPPORTED.format(what)


def test_pillow_neither_warns_nor_logs_on_stderr(tmp_path: Path) -> None:
    """In a process of its own: pytest takes warnings and logs for itself."""
    beyond = bytearray(write_tiff(b"\1" * 24, PLAIN | {65000: [1, 2, 3]}))
    place = beyond.rindex(struct.pack("<HHI", 65000, 3, 3)) + 4
    beyond[place : place + 4] = struct.pack("<I", 10**6)  # Pillow warns of tags larger than the file
    code = "import sys; from histods.images.reader import decode_rgb; decode_rgb(open(sys.argv[1], 'rb').read())"
    for content, status in ((bytes(beyond), 0), (write_channels(ones(9), 1), 1)):  # it logs the 9 channels
        (tmp_path / "file.tif").write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "file.tif"], capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert "warn" not in done.stderr.lower()
        assert not done.stderr.startswith("More samples per pixel")


def test_bigtiff_twelve_bits_and_metadata_of_another_orientation_are_read_as_stored() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    tags: Tags = PLAIN | {PHOTOMETRIC: 0, XMP: b'<x tiff:Orientation="6"/>'}
    content = write_tiff(pixels.tobytes(), tags, big=True)
    np.testing.assert_array_equal(decode_mask(content).labels, pixels)
    pairs = bytes.fromhex("001fff123abc8007ff")
    twelve = decode_mask(write_tiff(pairs, {WIDTH: 6, HEIGHT: 1, BITS: 12, PHOTOMETRIC: 1}))
    assert twelve.labels.tolist() == [[0x001, 0xFFF, 0x123, 0xABC, 0x800, 0x7FF]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["tiff", "png", "jpeg", "webp"])
def test_neither_images_nor_masks_are_turned(orientation: int, file_format: str) -> None:
    grey = np.arange(6, dtype=np.uint8).repeat(8).reshape(3, 16).repeat(8, axis=0)
    image = Image.fromarray(np.stack([grey] * 3, axis=2))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    plain, turned = io.BytesIO(), io.BytesIO()
    options = {"lossless": True} if file_format == "webp" else {}
    image.save(plain, file_format, **options)
    image.save(turned, file_format, exif=exif, **options)
    np.testing.assert_array_equal(decode_rgb(turned.getvalue()), decode_rgb(plain.getvalue()))
    np.testing.assert_array_equal(decode_mask(turned.getvalue()).labels, decode_mask(plain.getvalue()).labels)
    header = check_image(turned.getvalue())
    assert (header.width, header.height) == (16, 24)


@pytest.mark.parametrize("big", [False, True])
def test_pages_are_counted(big: bool) -> None:
    assert refusal(write_tiff(b"\1" * 24, PLAIN, pages=3, big=big)).startswith(
        "3 pages in one file, expected one;"
    )
    circle = bytearray(write_tiff(b"\1" * 24, PLAIN))
    circle[-4:] = circle[4:8]  # the only directory comes after itself
    assert outcome(bytes(circle)) == "damaged: the directories of the TIFF lead in a circle"


@pytest.mark.parametrize("side", [9460, 13400, 60000, 2**31])
@pytest.mark.parametrize("file_format", ["tiff", "bmp"])
def test_the_limit_of_pixels_is_that_of_every_format(side: int, file_format: str) -> None:
    content = write_tiff(b"\1", {WIDTH: side, HEIGHT: side, BITS: 8, PHOTOMETRIC: 1})
    if file_format == "bmp":
        side = min(side, 2**31 - 1)
        content = struct.pack("<2sIII IiiHHIIiiII", b"BM", 58, 0, 54, 40, side, side, 1, 24, 0, 4, 0, 0, 0, 0)
    assert reason(content) == (
        f"its header says {side}x{side} pixels, more than {MAX_PIXELS:,}: not decoded (decompression bomb?)"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"II*\0", "truncated or damaged: tags of the TIFF lie past its end"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "truncated or damaged: tags of the TIFF lie past its end"),
        (write_tiff(b"\1" * 24, PLAIN)[:-3], "truncated or damaged: tags of the TIFF lie past its end"),
        (write_tiff(b"\1" * 24, {WIDTH: 6}), "damaged: the TIFF does not say how many pixels it has"),
        (write_tiff(b"", {WIDTH: 0, HEIGHT: 4}), "its header says 0x4 pixels, expected at least 1x1"),
        (write_tiff(b"", PLAIN | {CHANNELS: 0}), "damaged: the TIFF says that a pixel has 0 channels"),
    ],
)
def test_damaged_tags_are_named(content: bytes, expected: str) -> None:
    assert reason(content) == expected


def outcome(content: bytes) -> str:
    try:
        return str(decode_mask(content).labels.tolist())
    except UnreadableFileError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(4, 400), st.integers(0, 255)), max_size=6), st.booleans(), st.sampled_from("<>")
)
def test_damaged_tags_have_one_outcome_in_one_line(damage: list[tuple[int, int]], big: bool, order: str) -> None:
    content = bytearray(write_tiff(b"\1" * 24, PLAIN, big=big, order=order))
    for place, value in damage:
        content[place % len(content)] = value
    found = outcome(bytes(content))
    assert found == outcome(bytes(content))
    assert "\n" not in found
    assert " object at " not in found
