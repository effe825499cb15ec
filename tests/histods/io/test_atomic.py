"""A temporary name is legal wherever the final name is, is hidden, and says whose it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from histods.io.atomic import replacing, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

LETTERS = st.sampled_from("aZ9 äß組𝒜.-")


def cut(name: str) -> str:
    return os.fsencode(name)[:255].decode("utf-8", "ignore")


@given(text=st.text(LETTERS, min_size=1, max_size=20), times=st.integers(1, 300))
def test_every_legal_name_can_be_written(tmp_path_factory: pytest.TempPathFactory, text: str, times: int) -> None:
    name = cut(text * times)
    assume(name not in (".", ".."))
    path = tmp_path_factory.getbasetemp() / "names" / name
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert (temporary.name[0], temporary.suffix) == (".", ".part")
        assert temporary.name.isprintable()
    assert path.read_bytes() == b"new"
    assert sorted(path.parent.iterdir()) == [path]
    path.unlink()


def test_long_names_that_differ_at_the_end_have_temporary_names_that_differ(tmp_path: Path) -> None:
    first, second = (tmp_path / ("x" * 250 + end) for end in ("a.png", "b.png"))
    with replacing(first) as one, replacing(second) as other:
        assert one != other
        assert one.match(".*.png.*.part"), "the remains of a killed run are found by this pattern"
        one.write_bytes(b"1")
        other.write_bytes(b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_of_the_file_whichever_library_wrote(tmp_path: Path) -> None:
    """Libraries in Rust raise errors of their own, with the number in the message alone."""
    with pytest.raises(OSError, match="No space left on device") as caught, replacing(tmp_path / "x"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "x"))
    with pytest.raises(RuntimeError, match="a fault"), replacing(tmp_path / "x"):
        raise RuntimeError("a fault")
    assert not list(tmp_path.iterdir())
