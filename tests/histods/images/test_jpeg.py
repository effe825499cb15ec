"""Headers of JPEG files are remembered, and nothing that was read before changes what the next file is."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images import jpeg
from histods.images.jpeg import Jpeg, parse_jpeg

_APP1, _COMMENT, _SCAN_MARKER = b"\xff\xe1", b"\xff\xfe", b"\xff\xda"


def _encode(width: int, height: int, mode: str, *, progressive: bool = False) -> bytes:
    buffer = BytesIO()
    Image.new(mode, (width, height), 7).save(buffer, "JPEG", progressive=progressive)
    return buffer.getvalue()


def _segment(marker: bytes, content: bytes) -> bytes:
    return marker + (len(content) + 2).to_bytes(2, "big") + content


def _read(content: bytes) -> Jpeg | str | None:
    try:
        return parse_jpeg(content)
    except UnreadableFileError as error:
        return str(error)


_files = st.builds(
    _encode,
    st.sampled_from([1, 8, 17, 300]),
    st.sampled_from([1, 8, 255]),
    st.sampled_from(["L", "RGB", "CMYK"]),
    progressive=st.booleans(),
)
# Segments before the tables; some hold what looks like a scan, as thumbnails do.
_segments = st.lists(
    st.builds(
        _segment,
        st.sampled_from([_APP1, _COMMENT]),
        st.sampled_from([b"", b"text", _SCAN_MARKER + b"\0\x0c\1", b"x" + _encode(8, 8, "RGB")]),
    ),
    max_size=2,
)


@st.composite
def _files_with_segments(draw: st.DrawFn) -> bytes:
    content = draw(_files)
    content = content[:2] + b"".join(draw(_segments)) + content[2:]
    return content[: draw(st.sampled_from([len(content), 30, 200, 640]))]


@given(st.lists(_files_with_segments(), min_size=1, max_size=6))
def test_files_read_before_change_nothing(contents: list[bytes]) -> None:
    jpeg._known.clear()
    together = [_read(content) for content in contents]
    alone = []
    for content in contents:
        jpeg._known.clear()
        alone.append(_read(content))
    assert together == alone


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "_MAX_KNOWN", 4)
    for width in range(1, 20):
        found = parse_jpeg(_encode(width, 8, "L"))
        assert found is not None
        assert found.header.width == width
        assert len(jpeg._known) <= 4
