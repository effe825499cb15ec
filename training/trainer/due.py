"""The validations and previews that are due after a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.runs.metrics import read_metrics
from training.runs.run_folder import preview_path

if TYPE_CHECKING:
    from pathlib import Path

    from training.config.sections import RunConfig


def scheduled_evaluations(run: RunConfig, step: int, *, last: bool) -> set[str]:
    """Which of `validation` and `preview` the settings schedule after a step."""
    return {
        kind
        for kind, every in (("validation", run.validate_every), ("preview", run.preview_every))
        if every > 0 and (last or step % every == 0)
    }


def due_evaluations(folder: Path, run: RunConfig, step: int, *, last: bool) -> set[str]:
    """Which of `validation` and `preview` are scheduled after a step and still missing, as after a kill."""
    due = scheduled_evaluations(run, step, last=last)
    if "preview" in due and preview_path(folder, step).is_file():
        due.remove("preview")
    if "validation" in due and any(
        line["kind"] == "validation" and line["step"] == step for line in read_metrics(folder)
    ):
        due.remove("validation")
    return due
