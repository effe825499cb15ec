"""The plan of tiles: one task per image, the target of its tiles, and a digest of what determines their bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.tiles.cut import TileTask
from histods.tiles.mark import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from histods.tiles.cut import TileOptions

_CHUNK_PIXELS, _CHUNK_IMAGES = 16 << 20, 256
"""Maximum pixels per task: about 3 s of work, which a kill may lose."""
_TASKS_EACH = 8
"""Tasks per worker in a small dataset, so that all workers finish at about the same time."""


def plan_tiles(samples: pl.DataFrame) -> list[TileTask]:
    """One task per image; no two images share a folder for their tiles.

    Raises:
        HistodsError: two images would share a folder.
    """
    columns = [name for name in TileTask._fields if name != "target"]
    tasks, taken = [], dict[str, str]()
    for row in samples.select(columns).iter_rows(named=True):
        # Images without masks may be in folders outside the dataset's, with keys that begin with "..".
        key = "/".join("beside" if name == ".." else name for name in row["key"].split("/"))
        target = f"{'unconditional' if row['mask_path'] is None else 'pairs'}/{key}"
        other = taken.setdefault(target, row["image_path"])
        if other != row["image_path"]:
            raise HistodsError(
                f"The tiles of {other} and {row['image_path']} would all go to {target}; "
                "rename one of the images and audit again."
            )
        tasks.append(TileTask(target=target, **row))
    return tasks


def digest_plan(tasks: Sequence[TileTask], options: TileOptions) -> str:
    """Digest of everything that determines the bytes of the tiles."""
    how = (SCHEMA_VERSION, options.size, options.stride, options.edge, options.pad_label, options.keep_blank)
    digest = hashlib.sha256(repr((how, sorted(options.colours.items()), options.nearest)).encode())
    for task in tasks:
        digest.update(repr(tuple(task)).encode())
    return digest.hexdigest()


def chunk_tasks(tasks: Sequence[TileTask], workers: int) -> Iterator[list[TileTask]]:
    """Divide images among tasks by their number of pixels."""
    everything = sum(task.width * task.height for task in tasks)
    most = min(_CHUNK_PIXELS, everything // (_TASKS_EACH * workers) + 1)
    chunk: list[TileTask] = []
    pixels = 0
    for task in tasks:
        chunk.append(task)
        pixels += task.width * task.height
        if pixels >= most or len(chunk) == _CHUNK_IMAGES:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk
