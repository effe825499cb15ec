"""`evaluation.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError
from histods.io.evaluation_file import FILE, EvaluationFile
from tests.evaluations import make_evaluation

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    for made in (make_evaluation(), make_evaluation(run=None, step=None, faithfulness=None, copies=())):
        assert made.write(tmp_path) == tmp_path / FILE
        assert EvaluationFile.read(tmp_path / FILE) == made


@pytest.mark.parametrize(
    "change",
    [{"distances": 3}, {"unknown": 1}, {"copies": [{"space": 1}]}, {"step": "many"}, {"classes": None}],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    path = make_evaluation().write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HistodsError, match="is not an evaluation of this version") as caught:
        EvaluationFile.read(path)
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = make_evaluation().write(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HistodsError, match=r"evaluation\.json cannot be read as JSON"):
        EvaluationFile.read(path)
