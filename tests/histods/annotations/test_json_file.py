"""JSON of an unknown source: read whole, or refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from histods.annotations import json_file
from histods.annotations.json_file import read_json_file
from histods.errors import UnreadableFileError

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = {"a": [1, 2.5, "ü"]}
TEXT = json.dumps(DOCUMENT).encode()


@pytest.mark.parametrize(
    "content",
    [TEXT, b"\xef\xbb\xbf" + TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])],
    ids=["plain", "mark", "gzip", "gzip in two members"],
)
def test_text_with_or_without_a_mark_or_compression_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert read_json_file(path) == (DOCUMENT, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b'{"a": [1, 2', "not JSON, or cut short: .* at line 1"),
        (b'{"a', "string starting at line 1, column 2"),
        (b"[" * 200_000, "too deep"),
        (b"\xff{}", "not UTF-8: byte 0xff at 0"),
        (b"[" + b"9" * 5000 + b"]", "not JSON: Exceeds the limit"),
        (gzip.compress(TEXT)[:-12], "compressed by gzip, but cut short"),
        (gzip.compress(TEXT)[:12] + b"\xff\xff" + gzip.compress(TEXT)[14:], "compressed by gzip, but"),
        (gzip.compress(bytes(1 << 22)), "more than the 1,048,576 bytes that are read, once decompressed"),
        (b"1" * (1 << 21), "2,097,152 bytes, more than the 1,048,576 that are read"),
    ],
    ids=range(11),
)
def test_what_is_no_json_is_refused_in_one_line(
    tmp_path: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_file, "MAX_BYTES", 1 << 20)
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=reason) as caught:
        read_json_file(path)
    assert "\n" not in str(caught.value)


def test_pipes_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "none"):
        with pytest.raises(UnreadableFileError):
            read_json_file(tmp_path / name)
