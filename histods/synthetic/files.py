"""Encode pixels as image files, like common tools do."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


def encode(pixels: NDArray[Any] | Image.Image, suffix: str, *, quality: int = 85) -> bytes:
    """Encode pixels with Pillow's defaults in the format of a suffix (`.jpg`, `.png`, `.tif`, `.bmp`, `.webp`)."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    file_format = Image.registered_extensions()[suffix.lower()]
    if file_format in ("JPEG", "WEBP"):
        image.save(buffer, file_format, quality=quality)
    else:
        image.save(buffer, file_format)
    return buffer.getvalue()


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`, which is renamed to the final name on exit without an error.

    Raises:
        HistodsError: `folder` exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HistodsError(f"{folder} is not a new or empty folder; choose another name.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rmdir()  # empty; Windows would not replace it
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
