"""Workspaces with a manifest made by hand, for tests of split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from histods import HistodsError, split
from histods.dataset.manifest import SCHEMA, Manifest, read_table
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace
from histods.steps.split import SplitResult


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of a manifest made by hand."""

    key: str
    role: str = "conditional"
    group: str | None = None
    digest: str | None = None
    pixels: Mapping[int, int] = field(default_factory=lambda: {1: 100})
    side: str | None = None


class Site:
    """A workspace in which an audit of the samples would have ended; no image is on disk."""

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self.folder, self.space = folder, Workspace(folder / "out")
        self.pairs = folder / "pairs.csv"
        self.audit(samples)

    def audit(self, samples: Sequence[Sample]) -> None:
        self.samples = {sample.key: sample for sample in samples}
        rows = [
            {
                "key": sample.key,
                "image_path": f"{sample.key}.jpg",
                "role": sample.role,
                "group": sample.group,
                "image_digest": sample.digest,
                "labels": sorted(sample.pixels) if sample.role == "conditional" else None,
                "pixels": [sample.pixels[i] for i in sorted(sample.pixels)]
                if sample.role == "conditional"
                else None,
            }
            for sample in samples
        ]
        Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(self.space.manifest)
        named = any(sample.side is not None for sample in samples)
        if named:
            lines = [f'"{sample.key}.jpg",{sample.side or ""}' for sample in samples]
            self.pairs.write_text("\n".join(["image,split", *lines, ""]), encoding="utf-8")
        write_summary(
            self.space,
            root=self.folder / "data",
            pairs=str(self.pairs) if named else None,
            pairs_digest=file_digest(self.pairs) if named else None,
        )

    def split(self, **options: Any) -> SplitResult:
        return split(workspace=self.space.folder, **options)

    @property
    def sides(self) -> dict[str, str]:
        table = read_table(self.space.split)
        assert table["key"].to_pylist() == sorted(table["key"].to_pylist())
        return dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))


def write_summary(
    space: Workspace, *, root: Path, pairs: str | None = None, pairs_digest: str | None = None
) -> None:
    document = {
        "root": str(root),
        "labels": [{"label": 1, "name": "tumour", "pixels": 1, "percent": 100.0, "images": 1}],
        "options": {"labels": None, "nearest_colour": False, "pairs": pairs, "pairs_digest": pairs_digest},
        "command": f"histods audit {root} --pairs pairs.csv",
        "manifest_digest": file_digest(space.manifest),
    }
    write_json(space.audit, document)


def refusal(site: Site, **options: Any) -> str:
    with pytest.raises(HistodsError) as refused:
        site.split(**options)
    return str(refused.value).replace(str(site.folder), "FOLDER")


def numbered(number: int, **what: Any) -> list[Sample]:
    return [Sample(key=f"k{i:03d}", **what) for i in range(number)]


def write_dataset(folder: Path, conditional: int, unconditional: int, excluded: int, groups: int = 0) -> Workspace:
    """A manifest of many rows with a few labels each, written at once."""
    random = np.random.default_rng(5)
    total = conditional + unconditional + excluded
    roles = np.repeat(["conditional", "unconditional", "excluded"], [conditional, unconditional, excluded])
    random.shuffle(roles)
    held = np.where(roles == "conditional", random.integers(1, 5, total), 1)
    offsets = np.concatenate([[0], np.cumsum(held)])
    order = offsets[:-1].repeat(held)
    first = np.where(roles == "conditional", random.integers(1, 50, total), 0)
    labels = (first.repeat(held) + np.arange(offsets[-1]) - order).astype(np.uint16)
    keys = [f"patch_{i:06d}" for i in range(total)]
    columns: dict[str, Any] = {
        "key": keys,
        "image_path": [f"{key}.jpg" for key in keys],
        "role": roles.tolist(),
        "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(labels)),
        "pixels": pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(random.integers(1, 2**16, offsets[-1]).astype(np.uint32))
        ),
    }
    if groups:
        columns["group"] = [f"slide {i % groups}" for i in range(total)]
    empty = {name: pa.nulls(total, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
    space = Workspace(folder)
    Manifest(pa.table(columns | empty).select(SCHEMA.names).cast(SCHEMA), {}).write(space.manifest)
    write_summary(space, root=folder / "data")
    return space


def straddling(usable: Sequence[Sample], sides: Mapping[str, str]) -> list[str]:
    """Groups and digests in more than one split."""
    seen: dict[str, set[str]] = {}
    for sample in usable:
        for name in (sample.group, sample.digest):
            if name is not None:
                seen.setdefault(name, set()).add(sides[sample.key])
    return [name for name, where in seen.items() if len(where) > 1]
