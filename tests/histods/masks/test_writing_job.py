"""Remapped masks are written in small tasks whose reports add up; failures are told with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from histods.engines import Engine
from histods.errors import HistodsError
from histods.masks import writing_job
from histods.masks.writer import MaskReport, MaskTask
from histods.masks.writing_job import CHUNK, first_of, run_mask_tasks
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_job, "engine_for", lambda *_: Engine(Here()))


def tasks_of(number: int) -> list[MaskTask]:
    return [MaskTask(f"{place}.png", f"{place}.png", 1, 1, 1, 1, [0], [1]) for place in range(number)]


@pytest.mark.parametrize("number", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_every_mask_is_written_once_and_counted(tmp_path: Path, number: int) -> None:
    seen: list[str] = []
    stages: list[tuple[str, int, int]] = []

    def work(chunk: Sequence[MaskTask]) -> MaskReport:
        assert 1 <= len(chunk) <= CHUNK
        seen.extend(task.source for task in chunk)
        odd = [task for task in chunk if int(task.source[:-4]) % 2]
        return MaskReport(len(chunk) - len(odd), len(odd), [(task.source, "odd") for task in odd[:1]], None)

    report = run_mask_tasks(work, tasks_of(number), tmp_path, 1, lambda *stage: stages.append(stage))
    assert seen == [task.source for task in tasks_of(number)]
    assert (report.written, report.present, report.disk) == (number - number // 2, number // 2, None)
    assert len(report.problems) == sum(min(CHUNK, number - first) > 1 for first in range(0, number, CHUNK))
    assert stages == [("writing masks", min(first + CHUNK, number), number) for first in range(0, number, CHUNK)]


def test_a_full_disk_ends_the_run_at_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def work(chunk: Sequence[MaskTask]) -> MaskReport:
        calls.append(len(chunk))
        return MaskReport(0, 0, [], "x.png: No space left on device")

    with pytest.raises(HistodsError) as refused:
        run_mask_tasks(work, tasks_of(20 * CHUNK), tmp_path, 1, None)
    assert str(refused.value) == (
        f"Writing into {tmp_path} failed (x.png: No space left on device); "
        "fix that and run the same command again to continue."
    )
    assert len(calls) < 20


def test_chunks_whose_worker_failed_are_told_after_the_others_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from histods.engines import Failed

    done: list[Any] = []

    class Failing:
        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def run(self, work: Any, chunks: Any) -> Any:
            for number, chunk in enumerate(chunks):
                if number % 2:
                    done.append(work(chunk))
                else:
                    yield Failed(chunk, f"killed {number}")

    monkeypatch.setattr(writing_job, "engine_for", lambda *_: Failing())
    with pytest.raises(HistodsError) as refused:
        run_mask_tasks(lambda chunk: MaskReport(len(chunk), 0, [], None), tasks_of(4 * CHUNK), tmp_path, 1, None)
    assert str(refused.value) == (
        "Masks could not be remapped: 0.png (killed 0) and 1 more; run the same command again to continue."
    )
    assert len(done) == 2


def test_the_first_problem_is_that_of_the_first_path() -> None:
    assert first_of([("b", "x")]) == "b (x)"
    assert first_of([("b", "x"), ("a", "y")]) == "a (y) and 1 more"
    assert first_of([(f"{number:05}", "z") for number in range(1235)]) == "00000 (z) and 1,234 more"
