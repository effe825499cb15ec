"""`masks.json` of an evaluation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError
from histods.io.mask_evaluation_file import FILE, MaskEvaluationFile
from tests.evaluations import make_mask_evaluation

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    made = make_mask_evaluation()
    assert made.write(tmp_path) == tmp_path / FILE
    assert MaskEvaluationFile.read(tmp_path / FILE) == made


def test_a_file_from_before_warnings_were_kept_is_read(tmp_path: Path) -> None:
    path = make_mask_evaluation().write(tmp_path)
    document = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: value for key, value in document.items() if key not in ("schema_version", "warnings")})
    )
    assert MaskEvaluationFile.read(path) == make_mask_evaluation(warnings=())


@pytest.mark.parametrize(
    "change", [{"proportions": 3}, {"unknown": 1}, {"step": "many"}, {"strips": {"distance": 1}}]
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    path = make_mask_evaluation().write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HistodsError, match="is not an evaluation of masks of this version") as caught:
        MaskEvaluationFile.read(path)
    assert "\n" not in str(caught.value)


def test_a_class_without_sizes_of_its_regions_is_refused_in_one_line(tmp_path: Path) -> None:
    path = make_mask_evaluation(region_sizes={}).write(tmp_path)
    with pytest.raises(HistodsError, match=r"sizes of regions of different classes; evaluate again\.$"):
        MaskEvaluationFile.read(path)
