"""The appearance of pictures on disk: decoding for `histods.masks.looks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.errors import UnreadableFileError
from histods.images.reader import decode_rgb
from histods.io.open_file import OpenFile
from histods.masks.looks import Look, look_at

if TYPE_CHECKING:
    from pathlib import Path


def look_at_content(content: bytes) -> Look | None:
    """Decode a picture and measure its appearance; None if it cannot be decoded."""
    try:
        return look_at(decode_rgb(content))
    except UnreadableFileError:
        return None


def look_at_file(path: str | Path) -> Look | None:
    """Read a picture and measure its appearance; None if it cannot be read."""
    try:
        with OpenFile(path) as file:
            return look_at_content(file.read())
    except UnreadableFileError:
        return None
