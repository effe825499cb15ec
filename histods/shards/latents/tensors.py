"""Named arrays in one file in the safetensors format, using only NumPy.

https://github.com/huggingface/safetensors#format: the header's size (8 bytes), a JSON header padded with spaces,
then the arrays, one after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

_KINDS: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_NOTE = "histods"  # only one key, since the libraries do not preserve the order of several
HEADER_BYTES = 1 << 20
"""Maximum size of a header that histods writes."""


class Place(NamedTuple):
    """The location of an array in its file."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return int(self.kind.itemsize) * math.prod(self.shape)

    def of(self, content: memoryview) -> NDArray[Any]:
        """The array, without copying, given the content of the whole file."""
        return np.frombuffer(content[self.offset : self.offset + self.bytes], self.kind).reshape(self.shape)


class Header(NamedTuple):
    """The contents of a file: a note of its writer, and its arrays by name."""

    note: str
    places: dict[str, Place]


def write_tensors(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], note: str) -> tuple[int, str]:
    """Write arrays in the given order, which must have wide types first, so that all are aligned for mapping.

    Returns:
        Bytes written, and their SHA-256.
    """
    header: dict[str, Any] = {"__metadata__": {_NOTE: note}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    pieces: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text, *map(_bytes, arrays.values())]
    for piece in pieces:
        digest.update(piece)
        file.write(piece)
    return 8 + len(text) + end, digest.hexdigest()


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def read_header(content: bytes | memoryview) -> Header:
    """Read the header of a file from its first bytes, which must include the whole header.

    Raises:
        HistodsError: the file has no such header.
    """
    size = int.from_bytes(content[:8], "little")
    try:
        document = json.loads(bytes(content[8 : 8 + size])) if size <= HEADER_BYTES else {}
        note = str(document.pop("__metadata__")[_NOTE])
        places = {
            name: Place(_KINDS[entry["dtype"]], tuple(entry["shape"]), 8 + size + entry["data_offsets"][0])
            for name, entry in document.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise HistodsError("A file that should hold tensors has no such header; remove the file.") from error
    return Header(note, places)


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """A whole file, mapped so that it need not fit into memory; no array of it may outlive the context."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        yield view
