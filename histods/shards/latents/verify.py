"""Read latents completely and compare every byte with the index and the digests."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from histods.errors import HistodsError
from histods.shards.base import read_index
from histods.shards.latents.latent_set import INDEX
from histods.shards.latents.tensors import HEADER_BYTES, mapped, read_header
from histods.shards.latents.writer import Shape, Sums, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import pyarrow as pa
    from numpy.typing import NDArray

    from histods.records import Progress
    from histods.shards.base import Shard
    from histods.shards.latents.latent_set import LatentSet
    from histods.shards.latents.tensors import Header


def training_split(splits: set[str]) -> set[str]:
    """The splits that determine the mean and deviation of latents: `train`, or all if there is none."""
    return {"train"} if "train" in splits else splits


def add_up(shards: Sequence[Path]) -> Sums:
    """Add the sums over latents that shards store, in order.

    Raises:
        HistodsError: a shard is not readable.
    """
    found: Sums | None = None
    for path in shards:
        sums = _note(_read_file_header(path))[1]
        found = sums if found is None else found + sums
    assert found is not None  # noqa: S101 - no split is empty
    return found


def _read_file_header(path: Path) -> Header:
    """The header of a shard.

    Raises:
        HistodsError: it is not readable.
    """
    with path.open("rb") as file:
        return read_header(file.read(HEADER_BYTES))


def check_latents(latents: LatentSet, progress: Progress | None = None) -> list[str]:
    """Read every byte of latents; return the problems, each with the name of the file."""
    known = {f"{shard.name}{latents.SUFFIX}" for shard in latents.shards}
    found = {path.name for path in latents.folder.glob(f"*{latents.SUFFIX}")}
    problems = [*latents.check_index(), *(f"{name} is not one of these shards" for name in sorted(found - known))]
    index = None if problems else read_index(latents).cast(INDEX)
    for done, shard in enumerate(latents.shards, start=1):
        rows = None if index is None else index.filter(pc.equal(index["shard"], shard.name))
        if (problem := _check_shard(latents, shard, rows)) is not None:
            problems.append(f"{shard.name}{latents.SUFFIX} {problem}")
        if progress is not None:
            progress("verifying latents", done, len(latents.shards))
    training = training_split({shard.split for shard in latents.shards})
    paths = [latents.path(shard.name) for shard in latents.shards if shard.split in training]
    if not problems and add_up(paths).mean_and_std() != (latents.mean, latents.std):
        problems.append("mean and std in latents.json are not those of the shards")
    return problems


def _check_shard(latents: LatentSet, shard: Shard, rows: pa.Table | None) -> str | None:
    path = latents.path(shard.name)
    try:
        if (size := path.stat().st_size) != shard.bytes:
            return f"has {size:,} bytes instead of {shard.bytes:,}"
        with mapped(path) as content:
            return _compare(content, latents, shard, rows)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _compare(content: memoryview, latents: LatentSet, shard: Shard, rows: pa.Table | None) -> str | None:
    """The first problem in a shard, or None; samples are named if the index has them."""
    try:
        header = read_header(content)
        plan, _ = _note(header)
        arrays = {name: place.of(content) for name, place in header.places.items()}
        problem = _check_shapes(arrays, Shape.of(latents), shard.samples)
    except (HistodsError, ValueError):
        return "is damaged: its header cannot be read"
    if problem is None and plan != shard.plan:
        problem = "was made from other samples or by another autoencoder"
    if problem is None and rows is not None:
        problem = _check_rows(arrays, header, rows)
    if problem is None and hashlib.sha256(content).hexdigest() != shard.sha256:
        problem = "is damaged outside its latents and masks: its SHA-256 is not the one in latents.json"
    return problem


def _note(header: Header) -> tuple[str, Sums]:
    """Digest of the plan, and sums.

    Raises:
        HistodsError: the note does not have them.
    """
    try:
        note = json.loads(header.note)
        return str(note["plan"]), Sums.from_json(note["sums"])
    except (ValueError, KeyError, TypeError) as error:
        raise HistodsError(f"A shard has no plan and sums in its header ({error}); remove the shard.") from error


def _check_shapes(arrays: Mapping[str, NDArray[Any]], shape: Shape, samples: int) -> str | None:
    """The first problem of the arrays' shapes or of the masks' runs, or None."""
    if sorted(arrays) != ["moments", "run_labels", "run_lengths", "run_offsets"]:
        return f"holds the tensors {', '.join(sorted(arrays))}, which are not those of latents"
    offsets, lengths = arrays["run_offsets"], arrays["run_lengths"]
    found = tuple(map(np.shape, (arrays["moments"], offsets, lengths)))
    expected = ((samples, *shape.moments), (samples * shape.orders + 1,), arrays["run_labels"].shape)
    if found != expected:
        return f"has tensors of shapes {found} instead of {expected}"
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if (np.diff(offsets) < 1).any() or offsets[0] != 0 or offsets[-1] != len(lengths):
        return "is damaged: its masks' runs do not follow one another"
    if (np.diff(ends[offsets]) != shape.image_height * shape.image_width).any():
        return "is damaged: a mask's runs do not add up to its pixels"
    return None


def _check_rows(arrays: dict[str, NDArray[Any]], header: Header, rows: pa.Table) -> str | None:
    """The first difference between the index and the shard, or None."""
    rows = rows.sort_by("moments_offset")
    if len(rows) != len(arrays["moments"]):
        return f"holds {len(arrays['moments']):,} samples, the index lists {len(rows):,}"
    found = describe(rows["shard"][0].as_py(), rows, arrays, header)
    latents = ("moments_offset", "moments_crc"), "latents", "are not those that were written"
    mask = INDEX.names, "mask", "is not the one that was written"
    for columns, kind, verdict in (latents, mask):
        for column in columns:
            if not found[column].equals(rows[column]):
                pairs = zip(found[column].to_pylist(), rows[column].to_pylist(), strict=True)
                key = next(key for key, (one, other) in zip(rows["key"], pairs, strict=True) if one != other)
                return f"is damaged: the {kind} of {key} {verdict}"
    return None
