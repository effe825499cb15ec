"""Classes of the workspace's class systems, and labels, that have no pixel in a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from histods.classes.class_system import LabelHistograms, read_class_systems
from histods.classes.coverage import find_gaps
from histods.labels.audit_labels import labels_of_audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from histods.io.audit_summary import AuditSummary
    from histods.io.workspace import Workspace

SOURCE_LABELS = "labels"
"""Name of the source labels among the class systems."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AbsentClass:
    """A class, or a source label, that has no pixel in at least one split.

    Attributes:
        system: name of the class system; `labels` for the source labels.
        index: the class or label.
        name: its name.
        splits: the splits that lack it.
        samples: number of samples that hold it, in all splits.
        units: number of groups and single images that hold it.
        group: the only group that holds it; None if there are several, or if it is a single image.
    """

    system: str
    index: int
    name: str
    splits: tuple[str, ...]
    samples: int
    units: int
    group: str | None


def list_absent(
    space: Workspace,
    audit: AuditSummary,
    labels: LabelHistograms,
    *,
    groups: pl.Series,
    units: NDArray[np.int64],
    split_names: pl.Series,
    splits: Sequence[str],
) -> tuple[AbsentClass, ...]:
    """List what any split lacks: first for every class system of this audit, then for the source labels.

    Args:
        space: the workspace, with its class systems.
        audit: the contents of `audit.json`.
        labels: histograms of the samples in use, in the manifest's order.
        groups: group of each sample.
        units: index of each sample's unit, which is never divided between splits.
        split_names: name of each sample's split.
        splits: names of the splits, in order; gaps of the first one come first.
    """
    numbers = split_names.replace_strict({name: place for place, name in enumerate(splits)}, return_dtype=pl.Int64)
    table = labels_of_audit(audit)
    systems: list[tuple[str, tuple[str, ...] | None, LabelHistograms]] = [
        system for system in read_class_systems(space, audit.manifest_digest) if system[0] != SOURCE_LABELS
    ]
    absent = []
    for system, classes, histograms in (*systems, (SOURCE_LABELS, None, labels)):
        gaps = find_gaps(
            *histograms,
            split_numbers=numbers.to_numpy(),
            units=units,
            splits=len(splits),
            number=None if classes is None else len(classes),
        )
        absent += [
            AbsentClass(
                system=system,
                index=gap.index,
                name=table.name(gap.index) if classes is None else classes[gap.index],
                splits=tuple(splits[number] for number in gap.splits),
                samples=gap.samples,
                units=gap.units,
                group=groups[gap.example] if gap.units == 1 else None,
            )
            for gap in sorted(gaps, key=lambda gap: (gap.splits[0], gap.index))
        ]
    return tuple(absent)
