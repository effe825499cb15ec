"""Files of tensors: what we write, safetensors reads; what it writes, we read; anything else is refused."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from histods.errors import HistodsError
from histods.shards.latents.tensors import read_header, write_tensors

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "offsets": np.arange(5),
    "lengths": np.array([[1, 2], [3, 2**32 - 1]], np.uint32),
    "moments": np.linspace(-3, 3, 30, dtype=np.float16).reshape(1, 2, 3, 5),
    "none": np.empty((0, 4), np.float16),
    "labels": np.arange(7, dtype=np.uint8),
}


@pytest.mark.parametrize("note", ["", "x", "a longer note: ä", json.dumps({"plan": "0" * 64})])
def test_the_library_reads_what_is_written(tmp_path: Path, note: str) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        size, digest = write_tensors(file, ARRAYS, note)
    content = path.read_bytes()
    assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    loaded = load_file(path)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    with safe_open(path, framework="numpy") as opened:
        assert opened.metadata() == {"histods": note}


def test_what_the_library_writes_is_read() -> None:
    content = save(dict(ARRAYS), metadata={"histods": "hello"})
    header = read_header(content)
    assert header.note == "hello"
    for name, place in header.places.items():
        np.testing.assert_array_equal(place.of(memoryview(content)), ARRAYS[name])


def test_every_array_stands_where_its_numbers_may_be_mapped() -> None:
    for length in range(20):
        file = io.BytesIO()
        write_tensors(file, ARRAYS, "n" * length)
        for place in read_header(file.getvalue()).places.values():
            assert place.offset % place.kind.itemsize == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (10).to_bytes(8, "little") + b"not JSON..",
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        save({"x": np.zeros(2, np.float16)}),
        save({"x": np.zeros(2, np.float64)}, metadata={"histods": ""}),
    ],
)
def test_anything_else_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(HistodsError) as caught:
        read_header(content)
    assert str(caught.value) == ("A file that should hold tensors has no such header; remove the file.")
