"""Shards of latents: contents, planning, writing and rows of the index.

A shard is a safetensors file of N samples in V views (8 dihedral views, or only the original):

| tensor | shape | content |
| --- | --- | --- |
| `moments` | float16 [N, V, 2C, h, w] | means of the latents, then log-variances |
| `run_offsets` | int64 [N * O + 1] | first run of each mask; O is 2 with 8 views, else 1 |
| `run_lengths` | uint32 [runs] | pixels of each run |
| `run_labels` | uint8 [runs] | class of each run |

A mask is stored as runs of equal classes in row-major order and, to rotate it without transposing pixels, also in
column-major order: each of the 8 views is one of the two, read forward or backward, with its rows in order or
reversed. Reading it needs no image decoder.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from histods.errors import HistodsError
from histods.io.atomic import replacing
from histods.run_lengths import Runs, find_runs
from histods.shards.latents.latent_set import INDEX
from histods.shards.latents.tensors import HEADER_BYTES, mapped, read_header, write_tensors
from histods.shards.resumable_write import write_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.shards.latents.latent_set import LatentSet
    from histods.shards.latents.tensors import Header

SHARD_BYTES = 256 << 20
"""Maximum bytes of the moments of a shard, which determines the number of samples per shard."""

SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("image_digest", pa.uint64()),
        ("mask_digest", pa.uint64()),
        ("classes", pa.list_(pa.uint16())),
        ("pixels", pa.list_(pa.uint32())),
    ]
)
"""The input of a shard, one row per sample; columns of the index of image shards."""


class Shape(NamedTuple):
    """The sizes that all samples of a folder share."""

    views: int
    channels: int
    height: int
    width: int
    image_height: int
    image_width: int

    @classmethod
    def of(cls, latents: LatentSet) -> Shape:
        """The sizes from `latents.json`."""
        return cls(*(getattr(latents, name) for name in cls._fields))

    @property
    def moments(self) -> tuple[int, int, int, int]:
        """Shape of the moments of one sample."""
        return self.views, 2 * self.channels, self.height, self.width

    @property
    def orders(self) -> int:
        """The number of orders in which the runs of a mask are stored."""
        return 2 if self.views > 1 else 1

    @property
    def samples_per_shard(self) -> int:
        """Number of samples in every shard except the last of a split."""
        return max(1, SHARD_BYTES // (2 * int(np.prod(self.moments))))


class Sums(NamedTuple):
    """Sums over latents per channel, which give the mean and standard deviation."""

    number: int
    means: NDArray[np.float64]
    squares: NDArray[np.float64]
    variances: NDArray[np.float64]

    @classmethod
    def of(cls, moments: NDArray[np.float16]) -> Sums:
        """The sums over moments [..., 2C, h, w] as stored."""
        flat = moments.reshape(-1, *moments.shape[-3:]).astype(np.float64)
        means, logvars = np.split(flat, 2, axis=1)
        axes = (0, 2, 3)
        return cls(
            means.size // means.shape[1],
            means.sum(axis=axes),
            np.square(means).sum(axis=axes),
            np.exp(logvars).sum(axis=axes),
        )

    def __add__(self, other: Sums) -> Sums:  # type: ignore[override]
        return Sums(
            self.number + other.number,
            self.means + other.means,
            self.squares + other.squares,
            self.variances + other.variances,
        )

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of draws from the posteriors, by the law of total variance."""
        mean = self.means / self.number
        variance = self.squares / self.number - mean**2 + self.variances / self.number
        return tuple(mean.tolist()), tuple(np.sqrt(np.maximum(variance, 0)).tolist())

    def to_json(self) -> dict[str, Any]:
        """The sums as JSON, without loss."""
        return {"number": self.number, **{name: getattr(self, name).tolist() for name in self._fields[1:]}}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Sums:
        """The sums from the result of `to_json`."""
        return cls(int(document["number"]), *(np.array(document[name]) for name in cls._fields[1:]))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """A shard to write.

    Attributes:
        name: its name without suffix.
        samples: rows of `SAMPLES`, in the order of the shard.
        numbers: [N] indices of the samples in the image reader.
        digest: the digest of everything that determines the shard's bytes.
    """

    name: str
    samples: pa.Table
    numbers: NDArray[np.int64]
    digest: str


def plan_shard(name: str, samples: pa.Table, numbers: NDArray[np.int64], how: str) -> Plan:
    """Plan a shard.

    Args:
        name: the name of the shard.
        samples: its samples, in order.
        numbers: their indices in the image reader.
        how: what else determines its bytes: autoencoder, sizes, label map.
    """
    table = samples.select(SAMPLES.names).cast(SAMPLES).combine_chunks()
    # As JSON, since Arrow's bytes of some rows also depend on the table that they were sliced from.
    content = json.dumps([how, table.to_pylist()], ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Plan(name=name, samples=table, numbers=numbers, digest=digest)


class ShardUnderWay:
    """A shard being filled with samples; it holds all of them in memory, some 256 MB."""

    def __init__(self, plan: Plan, shape: Shape) -> None:
        self._plan = plan
        self._moments = np.empty((len(plan.numbers), *shape.moments), np.float16)
        self._turned = shape.orders == 2
        self._runs: list[Runs] = []
        self._sums: Sums | None = None
        self._filled = 0

    def add(self, moments: NDArray[np.float16], masks: Sequence[NDArray[np.uint8]]) -> None:
        """Append samples: moments [n, V, 2C, h, w] and n masks [H, W].

        Raises:
            HistodsError: a latent is not finite.
        """
        sums = Sums.of(moments)
        if not np.isfinite(np.concatenate(sums[1:])).all():
            bad = ~np.isfinite(moments.reshape(len(moments), -1)).all(axis=1)
            key = self._plan.samples["key"][self._filled + int(bad.argmax())].as_py()
            raise HistodsError(
                f"The latents of {key} are not finite numbers within the range of float16; "
                "choose another autoencoder."
            )
        self._sums = sums if self._sums is None else self._sums + sums
        self._moments[self._filled : self._filled + len(moments)] = moments
        self._filled += len(moments)
        for mask in masks:
            self._runs.append(find_runs(mask))
            if self._turned:
                self._runs.append(find_runs(np.ascontiguousarray(mask.T)))

    def write(self, folder: Path) -> None:
        """Write the shard atomically, then its part of the index."""
        assert self._sums is not None  # noqa: S101 - no shard is empty
        name, plan = self._plan.name, self._plan.digest
        arrays = {
            "run_offsets": np.cumsum([0, *(len(runs.labels) for runs in self._runs)]),
            "run_lengths": np.concatenate([runs.lengths.astype(np.uint32) for runs in self._runs]),
            "moments": self._moments,
            "run_labels": np.concatenate([runs.labels for runs in self._runs]),
        }
        note = json.dumps({"plan": plan, "sums": self._sums.to_json()})
        with replacing(folder / f"{name}.safetensors") as temporary, temporary.open("w+b") as file:
            size, digest = write_tensors(file, arrays, note)
            file.seek(0)
            header = read_header(file.read(HEADER_BYTES))
        rows = describe(name, self._plan.samples, arrays, header)
        write_part(folder, name, rows, size=size, sha256=digest, plan=plan)


def rows_of(path: Path, plan: Plan) -> pa.Table:
    """Recover the rows of `INDEX` of an intact shard from the file itself, if the index was lost."""
    with mapped(path) as content:
        header = read_header(content)
        return describe(
            plan.name, plan.samples, {k: place.of(content) for k, place in header.places.items()}, header
        )


def describe(name: str, samples: pa.Table, arrays: dict[str, NDArray[Any]], header: Header) -> pa.Table:
    """Make the rows of `INDEX` of a shard from its arrays.

    Args:
        name: the name of the shard.
        samples: `key`, `split`, `role`, `group`, `classes` and `pixels` of its samples, in order.
        arrays: its tensors.
        header: the header of its file.
    """
    moments, offsets = arrays["moments"], arrays["run_offsets"]
    orders = (len(offsets) - 1) // len(moments)
    begins, counts = offsets[:-1].reshape(-1, orders), np.diff(offsets).reshape(-1, orders)
    crcs = np.array(
        [
            crc32(arrays["run_labels"][begin:end], crc32(arrays["run_lengths"][begin:end]))
            for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ]
    ).reshape(-1, orders)
    none = np.zeros(len(moments), np.int64)
    columns = {
        **{column: samples[column] for column in ("key", "split", "role", "group", "classes", "pixels")},
        "shard": [name] * len(moments),
        "moments_offset": header.places["moments"].offset + np.arange(len(moments)) * moments[0].nbytes,
        "moments_crc": [[crc32(view) for view in sample] for sample in moments],
        "lengths_offset": header.places["run_lengths"].offset + 4 * begins[:, 0],
        "labels_offset": header.places["run_labels"].offset + begins[:, 0],
        "runs": counts[:, 0],
        "mask_crc": crcs[:, 0],
        "turned_runs": counts[:, 1] if orders == 2 else none,
        "turned_crc": crcs[:, 1] if orders == 2 else none,
    }
    return pa.table({field.name: columns[field.name] for field in INDEX}).cast(INDEX)


def crc32(array: NDArray[Any], before: int = 0) -> int:
    """CRC-32 of an array's bytes, continued from the CRC `before`."""
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, before)
