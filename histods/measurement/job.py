"""Measure the files of a dataset: only those that no earlier run measured, and none lost to a kill."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from histods.dataset.manifest import to_polars
from histods.engines import Failed
from histods.measurement.cache import open_journal, read_measurements, write_measurements
from histods.measurement.worker import QUALITY, FileTask, failed_row, measure_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from histods.engines import Engine
    from histods.io.workspace import Workspace
    from histods.measurement.worker import MeasureOptions
    from histods.records import Progress

MAX_FILES, FEWEST_FILES = 2048, 32
"""Files a task: at most 0.2 s of work, which a kill may cost, and still long against what handing it out costs
(with 512 files the parent took 4.8 s of a core for 493,505 files, with 2,048 it takes 3.5 s)."""
TASKS_EACH = 8
"""Tasks for each worker in a small dataset, so that all of them end at about the same time."""


def measure_dataset(
    engine: Engine,
    files: pl.DataFrame,
    options: MeasureOptions,
    space: Workspace,
    *,
    fresh: bool,
    progress: Progress,
) -> tuple[pl.DataFrame, int]:
    """Measure every file that no earlier run measured in its present state and under the same options.

    Args:
        engine: who runs the work.
        files: one row per file: path, is_mask, bytes, mtime_ns, problem, look.
        options: how files are measured.
        space: workspace with the measurements of earlier runs, which also gets the new ones.
        fresh: measure everything again.
        progress: called as the work proceeds.

    Returns:
        One row per file, sorted by path, and the number of files that had to be read.
    """
    images, masks, looks = map(pl.lit, (options.images_how, options.masks_how, options.looks_how))
    how = pl.when("is_mask").then(masks).when("look").then(looks).otherwise(images)
    files = files.with_columns(how=how)
    state = ["path", "is_mask", "bytes", "mtime_ns"]
    with open_journal(space.journal, schema=options.schema, fresh=fresh) as journal:
        stored = read_measurements(space.measurements, options.schema)
        known = to_polars(journal.table() if fresh else pa.concat_tables([stored, journal.table()]))
        known = _still_true(known, files.select(*state, "how"), state, quality=options.quality)
        missing = files.join(known, on=state, how="anti").sort("path", "is_mask")
        done = 0
        progress("reading", done, len(missing))
        for outcome in engine.run(partial(measure_files, options=options), _chunks(missing, engine.workers)):
            if isinstance(outcome, Failed):
                journal.append(failed_row(outcome.chunk[0], outcome.error, options))
            else:
                journal.append(outcome.value)
            done += len(outcome.chunk)
            progress("reading", done, len(missing))
        measured = _with_read(known, to_polars(journal.table()), missing)
        if done or len(measured) != len(stored):
            write_measurements(measured.to_arrow(), space.measurements)
        journal.remove()
    return measured, done


def _still_true(known: pl.DataFrame, files: pl.DataFrame, state: list[str], *, quality: bool) -> pl.DataFrame:
    """Measurements of files as they are and under the same options, one row per file.

    What was measured with `quality` holds without it, but for damage of an image that only decoding found. Where
    an image could not be decoded, it has no numbers to add, so that the row holds with `quality`, too.
    """
    failed, plain = pl.col("error").is_not_null(), pl.col("how").str.replace(rf"\{QUALITY}.*", "")
    asked = files.with_columns(plain=plain).rename({"how": "asked"})
    known = known.join(asked, on=state, how="inner")
    holds = failed if quality else (pl.col("is_mask") | ~failed)
    other = (pl.col("how") == pl.col("plain")) if quality else (plain == pl.col("plain"))
    same = (pl.col("how") == pl.col("asked")) | (holds & other)
    return known.filter(same).drop("asked", "plain").unique(state, keep="last")


def _with_read(known: pl.DataFrame, read: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
    """Rows that are known, and the last one read of each missing file, sorted by path.

    Wide rows are moved once: their places are found first.
    """
    file = ["path", "is_mask"]  # a file may have changed since it was listed: what was read counts
    rows = pl.concat([known, read])
    places = rows.select(file).with_row_index("place")
    new = places.slice(len(known)).join(missing, on=file, how="semi").unique(file, keep="last")
    return rows[pl.concat([places.head(len(known)), new]).sort(file)["place"]]


def _chunks(missing: pl.DataFrame, workers: int) -> Iterator[list[FileTask]]:
    files = min(max(len(missing) // (TASKS_EACH * workers), FEWEST_FILES), MAX_FILES)
    for rows in missing.select("path", "is_mask", "problem", "look").iter_slices(files):
        yield rows.rows()
