"""Write the remapped masks of a dataset with an engine, in small tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.engines import Failed, engine_for
from histods.errors import HistodsError
from histods.masks.writer import MaskReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from histods.masks.writer import MaskTask
    from histods.records import Progress

CHUNK = 256
"""Masks per task: 0.1 s of work, compared with the 1 ms overhead of a task."""


def run_mask_tasks(
    work: Callable[[Sequence[MaskTask]], MaskReport],
    tasks: list[MaskTask],
    folder: Path,
    workers: int | None,
    progress: Progress | None,
) -> MaskReport:
    """Write all masks and combine the reports; stop immediately if the disk is full."""
    written = present = done = 0
    problems: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    chunks = (tasks[first : first + CHUNK] for first in range(0, len(tasks), CHUNK))
    with engine_for("local", workers) as engine:
        for outcome in engine.run(work, chunks):
            if isinstance(outcome, Failed):
                failures.append((outcome.chunk[0].source, outcome.error))
            else:
                report = outcome.value
                if report.disk is not None:
                    raise HistodsError(
                        f"Writing into {folder} failed ({report.disk}); "
                        "fix that and run the same command again to continue."
                    )
                written, present = written + report.written, present + report.present
                problems += report.problems
            done += len(outcome.chunk)
            if progress is not None:
                progress("writing masks", done, len(tasks))
    if failures:
        found = first_of(failures)
        raise HistodsError(f"Masks could not be remapped: {found}; run the same command again to continue.")
    return MaskReport(written, present, problems, None)


def first_of(problems: list[tuple[str, str]]) -> str:
    """The first of some paths with its reason, and the number of others."""
    path, reason = min(problems)
    return f"{path} ({reason})" + (f" and {len(problems) - 1:,} more" if len(problems) > 1 else "")
