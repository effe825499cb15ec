"""Faults are read as they were written, and specks are counted as their definition says."""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from histods.errors import HistodsError
from histods.synthetic.faults import Fault, codes_of_labels, read_faults, speck_share, write_faults

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)
MASKS = arrays.arrays(np.uint16, SHAPES, elements={"max_value": 3})
FAULTS = st.lists(st.builds(Fault, code=TEXTS, key=TEXTS, path=TEXTS, note=TEXTS), max_size=4)


@settings(max_examples=20, deadline=None)
@given(faults=FAULTS)
def test_faults_are_read_as_they_were_written(faults: list[Fault]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.csv"
        write_faults(path, faults)
        assert read_faults(path) == tuple(faults)


@pytest.mark.parametrize("content", [None, b"code,path\nx,y\n", b"\xff\xfe", b"code,key,path,note\n\xff"])
def test_another_file_is_no_list_of_faults(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "planted.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HistodsError, match="is not a list of planted faults with the columns code, key, path"):
        read_faults(path)


@given(
    labels=arrays.arrays(
        np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements={"max_value": 3}
    )
)
def test_specks_are_those_of_a_loop_over_runs(labels: NDArray[np.uint16]) -> None:
    runs = [(value, len([*run])) for value, run in groupby(labels.ravel().tolist())]
    specks = sum(
        length <= 3 and before != after
        for (before, _), (_, length), (after, _) in zip(runs, runs[1:], runs[2:], strict=False)
    )
    assert speck_share(labels) == (specks / len(runs), specks)


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (np.zeros((9, 9), np.uint8), ["zero_mask"]),
        (np.full((9, 9), 5, np.uint8), ["constant_mask"]),
        (np.full((9, 9), 300, np.uint16), ["constant_mask", "unknown_label"]),
        (np.tri(9, dtype=np.uint8), []),
        (np.tri(9, dtype=np.uint8) * 9, ["unknown_label"]),
        (np.arange(81, dtype=np.uint8).reshape(9, 9) % 3, ["speckled_mask"]),
    ],
    ids=["zero", "constant", "constant unknown", "sound", "unknown", "speckled"],
)
def test_values_cause_the_codes_that_an_audit_gives(labels: NDArray[np.uint16], codes: list[str]) -> None:
    assert codes_of_labels(labels, frozenset(range(6))) == codes
