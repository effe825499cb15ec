"""Read JSON of an unknown source, compressed by gzip or not."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from typing import TYPE_CHECKING, NamedTuple

from histods.errors import UnreadableFileError
from histods.io.open_file import OpenFile

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 2 << 30
"""Of the text. The annotations of COCO's 118,287 training images have 0.45 GB, those of LVIS 1.1 GB."""
_GZIP = b"\x1f\x8b"


class JsonFile(NamedTuple):
    """A document, and the SHA-256 of the file as stored."""

    document: object
    digest: str


def read_json_file(path: Path) -> JsonFile:
    """Read a file of JSON.

    Raises:
        UnreadableFileError: it cannot be read, or is not JSON; the message is a part of a sentence.
    """
    with OpenFile(path) as file:
        if file.size > MAX_BYTES:
            raise UnreadableFileError(f"{file.size:,} bytes, more than the {MAX_BYTES:,} that are read")
        try:
            content = file.read()
        except OSError as error:
            raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if content.startswith(_GZIP):
        content = _decompress(content)
    if not content.strip():
        raise UnreadableFileError("the file is empty")
    try:
        return JsonFile(json.loads(content.decode("utf-8-sig")), digest)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"not UTF-8: byte {error.object[error.start]:#04x} at {error.start:,}"
        ) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno:,}, column {error.colno:,}"
        raise UnreadableFileError(f"not JSON, or cut short: {error.msg.removesuffix(' at')} at {where}") from error
    except RecursionError as error:
        raise UnreadableFileError("lists in lists in lists, too deep to be annotations") from error
    except ValueError as error:  # a number with thousands of digits
        raise UnreadableFileError(f"not JSON: {str(error).splitlines()[0]}") from error


def _decompress(content: bytes) -> bytes:
    """The text of a gzip file, which may have several members."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            text = file.read(MAX_BYTES + 1)
    except EOFError as error:
        raise UnreadableFileError("compressed by gzip, but cut short") from error
    except (OSError, zlib.error) as error:
        raise UnreadableFileError(f"compressed by gzip, but damaged ({error})") from error
    if len(text) > MAX_BYTES:
        raise UnreadableFileError(f"more than the {MAX_BYTES:,} bytes that are read, once decompressed")
    return text
