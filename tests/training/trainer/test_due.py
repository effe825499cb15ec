"""Validations and previews: which belong to a step, and which a kill has left undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.config.sections import RunConfig
from training.runs.run_folder import preview_path
from training.trainer.due import due_evaluations, scheduled_evaluations


@pytest.mark.parametrize(
    ("step", "last", "found"),
    [
        (1, False, set()),
        (2, False, {"validation"}),
        (3, False, {"preview"}),
        (6, False, {"validation", "preview"}),
        (7, False, set()),
        (7, True, {"validation", "preview"}),
    ],
)
def test_each_has_its_own_steps_and_the_last_step_has_both(step: int, last: bool, found: set[str]) -> None:
    run = RunConfig(validate_every=2, preview_every=3)
    assert scheduled_evaluations(run, step, last=last) == found


def test_what_is_switched_off_is_never_due() -> None:
    run = RunConfig(validate_every=0, preview_every=0)
    assert scheduled_evaluations(run, 0, last=True) == set()


def test_what_is_done_is_due_no_more(tmp_path: Path) -> None:
    run = RunConfig(validate_every=2, preview_every=2)
    assert due_evaluations(tmp_path, run, 4, last=False) == {"validation", "preview"}
    picture = preview_path(tmp_path, 4)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"")
    assert due_evaluations(tmp_path, run, 4, last=False) == {"validation"}
    rows = [{"kind": "train", "step": 4}, {"kind": "validation", "step": 2}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert due_evaluations(tmp_path, run, 4, last=False) == {"validation"}
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "validation", "step": 4}) + "\n")
    assert due_evaluations(tmp_path, run, 4, last=False) == set()
    assert due_evaluations(tmp_path, run, 6, last=False) == {"validation", "preview"}
