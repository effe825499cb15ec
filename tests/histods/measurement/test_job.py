"""Every file is measured once: what earlier runs know is taken over, and one bad file costs its own row alone."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods.engines import Engine
from histods.io.workspace import Workspace
from histods.measurement.cache import open_journal
from histods.measurement.job import measure_dataset
from histods.measurement.worker import MeasureOptions, measure_files
from histods.records import silent
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAMES = [f"{number:02d}_ä.png" for number in range(70)]  # of masks; enough for several chunks


class Breaking(Here):
    """Fails on every chunk with a file of these names, as a worker does that runs out of memory."""

    def __init__(self, *poison: str) -> None:
        self.poison = {*poison}
        self.read: list[str] = []

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        return partial(work, chunk)

    def wait_any(self, handles: Sequence[Any]) -> tuple[object, Any]:
        self.handle = handles[0]
        names = [path for path, *_ in self.handle.args[0]]
        if self.poison & {*names}:
            raise MemoryError("no room")
        self.read += names
        return self.handle, self.handle()

    def failed_handle(self) -> object:
        return self.handle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Masks, of which each has a label of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / name)
    return folder


def listed(root: Path) -> pl.DataFrame:
    rows = [
        (name, True, (root / name).stat().st_size, (root / name).stat().st_mtime_ns, None, False)
        for name in sorted(path.name for path in root.iterdir())
    ]
    schema = {"path": pl.String, "is_mask": pl.Boolean, "bytes": pl.Int64, "mtime_ns": pl.Int64}
    return pl.DataFrame(rows, schema={**schema, "problem": pl.String, "look": pl.Boolean}, orient="row")


def measure(
    root: Path, pool: Here | None = None, *, files: pl.DataFrame | None = None, **options: Any
) -> tuple[pl.DataFrame, int]:
    space, fresh = Workspace(root.parent / "out"), options.pop("fresh", False)
    return measure_dataset(
        Engine(pool or Here()),
        listed(root) if files is None else files,
        MeasureOptions(root=str(root), **options),
        space,
        fresh=fresh,
        progress=silent,
    )


def test_only_files_in_another_state_or_under_other_options_are_read_again(root: Path) -> None:
    measured, read = measure(root)
    assert (read, measured["path"].to_list()) == (70, NAMES)
    assert measured["labels"].to_list() == [[number] for number in range(70)]
    assert measure(root, Breaking(*NAMES))[1] == 0
    os.utime(root / NAMES[3], ns=(1, 1))
    (root / NAMES[5]).unlink()
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(root / "new.png")
    pool = Breaking()
    again, read = measure(root, pool)
    assert (read, pool.read) == (2, [NAMES[3], "new.png"])
    assert again["path"].to_list() == [*NAMES[:5], *NAMES[6:], "new.png"]
    assert measure(root, fresh=True)[0].equals(again)
    assert measure(root, colours={1: (1, 2, 3)})[1] == 70


def test_an_interrupted_run_is_resumed_with_the_same_result(root: Path) -> None:
    """The journal that a killed run leaves has some of the files; one of them has changed since."""
    expected, _ = measure(root)
    space = Workspace(root.parent / "out")
    space.measurements.unlink()
    tasks = [(name, True, None, False) for name in NAMES[:40]]
    with open_journal(space.journal) as journal:
        journal.append(measure_files(tasks, options=MeasureOptions(root=str(root))))
    os.utime(root / NAMES[7], ns=(1, 1))
    pool = Breaking()
    measured, read = measure(root, pool)
    assert (read, pool.read) == (31, [NAMES[7], *NAMES[40:]])
    assert measured.drop("mtime_ns").equals(expected.drop("mtime_ns"))
    assert not space.journal.exists()


def test_a_file_on_which_every_attempt_fails_is_a_row_and_is_tried_again(root: Path) -> None:
    measured, read = measure(root, Breaking(NAMES[33], NAMES[69]))
    assert read == 70
    failed = measured.filter(pl.col("error").is_not_null())
    assert failed.select("path", "error", "how", "labels").rows() == [
        (name, "MemoryError: no room", None, None) for name in (NAMES[33], NAMES[69])
    ]
    pool = Breaking()
    again, read = measure(root, pool)
    assert (read, pool.read) == (2, [NAMES[33], NAMES[69]])
    assert again["error"].null_count() == 70


def test_no_files_give_no_rows_and_forget_those_of_the_past(root: Path) -> None:
    measure(root)
    measured, read = measure(root, files=listed(root).clear())
    assert (len(measured), read) == (0, 0)
    assert measure(root)[1] == 70


def test_a_file_that_is_an_image_and_a_mask_is_measured_as_both(root: Path) -> None:
    one = listed(root).head(1)
    measured, read = measure(root, files=pl.concat([one, one.with_columns(is_mask=False)]))
    assert (read, measured["path"].to_list()) == (2, NAMES[:1] * 2)
    assert sorted(measured["labels"].is_null().to_list()) == [False, True]
