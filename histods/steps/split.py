"""split: train, test and validation splits, or folds, so that nothing leaks and labels are balanced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow.compute as pc

from histods.classes.absent_classes import AbsentClass, list_absent
from histods.classes.class_system import LabelHistograms, flatten_labels
from histods.dataset.manifest import Manifest, to_polars
from histods.errors import HistodsError, TooFewSamplesError
from histods.io.workspace import Workspace
from histods.labels.audit_labels import labels_of_audit
from histods.printing import printed
from histods.records import silent
from histods.splits.assign import Plan, Samples, assign, join_units, keyed_hashes, parse_plan, spread_splits
from histods.splits.groups import SHOWN, Proposal, check_group_regex, propose_groups
from histods.splits.preassigned import refuse_conflicts, with_given_splits
from histods.splits.split_table import SplitCheck, SplitOptions, check_split, with_split_groups, write_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.labels.label_map import LabelTable
    from histods.records import Progress

    Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSize:
    """One split: its samples of each role, and the percent of all samples that it should have.

    `target` is None where the split takes what it was given and nothing else.
    """

    name: str
    conditional: int
    unconditional: int
    target: float | None

    @property
    def samples(self) -> int:
        """Samples of both roles."""
        return self.conditional + self.unconditional


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelBalance:
    """One source label: its pixels in all splits, and the percent of them in each.

    `deviation` is the largest difference, in percent points, from what a split should have; 0 without targets.
    """

    label: int
    name: str
    pixels: int
    percent: tuple[float, ...]
    deviation: float


@printed(table="splits", hide=("labels", "proposed", "options", "manifest_digest"))
@dataclass(frozen=True, kw_only=True, slots=True)
class SplitResult:
    """How a dataset was split.

    Attributes:
        path: the file that was written.
        splits: the splits, as they are on disk.
        labels: where the pixels of each source label are, ascending by label.
        absent: classes of the workspace's class systems, and labels, that some split lacks; those that the first
            split lacks come first.
        groups: the first keys with their groups, so that a wrong expression is seen.
        ungrouped: samples without a group.
        proposed: where no groups are known, how names may tell them; else None.
        given: samples whose split the pairs file gives.
        kept: samples that stay where an earlier split put them.
        followed: samples that follow such ones, for their group or as duplicates.
        assigned: all others.
        excluded: samples of the manifest that are left out.
        pairs: the pairs file that gives splits; None where none does.
        check: what reading the file back showed.
        options: what was asked for.
        audit: the command that makes the audit again.
        manifest_digest: digest of the manifest.
    """

    path: Path
    splits: tuple[SplitSize, ...]
    labels: tuple[LabelBalance, ...]
    absent: tuple[AbsentClass, ...]
    groups: tuple[tuple[str, str | None], ...]
    ungrouped: int
    proposed: Proposal | None
    given: int
    kept: int
    followed: int
    assigned: int
    excluded: int
    pairs: Path | None
    check: SplitCheck
    options: SplitOptions
    audit: str
    manifest_digest: str


def split(
    *,
    workspace: str | Path | None = None,
    test: float | None = None,
    val: float = 0.0,
    folds: int | None = None,
    seed: int = 0,
    keep: bool = False,
    group_regex: str | None = None,
    progress: Progress | None = None,
) -> SplitResult:
    """Split the samples of the last audit into train, test and perhaps val, or into folds.

    No group and no set of images with the same bytes is in two splits. Within each role the fractions are
    exact to the nearest sample, as far as whole groups allow, and the pixels of each label are balanced.

    Args:
        workspace: folder of the audit; gets `split.parquet`.
        test: fraction of the samples for the test; 0.1 if None and there are no folds.
        val: fraction for validation.
        folds: number of folds, instead of test and val.
        seed: another seed gives another split.
        keep: samples of the workspace's present split stay where they are; only others are assigned.
        group_regex: takes groups (slides, patients) from the keys, in place of those of the audit.
        progress: called with a stage as the work proceeds.

    Raises:
        HistodsError: the call cannot be met, or what is given contradicts itself.
        StaleFileError: the manifest or the pairs file is not the one that was audited.
    """
    plan = parse_plan(test, val, folds)
    check_group_regex(group_regex)
    if not -(1 << 63) <= seed < 1 << 63:
        raise HistodsError(f"--seed {seed} has more than 64 bits; give a smaller number.")
    space = Workspace.find(workspace)
    audit = space.read_audit()
    report = progress or silent
    report("reading the manifest", 0, 0)
    manifest = Manifest.read(space.manifest).table
    samples = manifest.filter(pc.not_equal(manifest["role"], "excluded"))
    if not len(samples):
        found = f"all {len(manifest):,} excluded" if len(manifest) else "no image at all"
        raise HistodsError(
            f"There are no samples in use to split in {space.folder} ({found}); "
            f"'histods show{space.option}' lists why; fix that, and run '{audit.command}' again."
        )
    frame = to_polars(samples.select(["key", "image_path", "role", "group", "image_digest"]))
    options = SplitOptions(
        test=None if folds is not None else plan.fractions[-1],
        val=val,
        folds=folds,
        seed=seed,
        keep=keep,
        group_regex=group_regex,
    )
    frame = with_split_groups(frame, options)
    rows = with_given_splits(frame, space, audit, plan, keep=keep)
    names = (*plan.names, *sorted(set(rows["given"].drop_nulls()) - set(plan.names)))
    histograms = flatten_labels(samples)
    known = _join(rows, histograms, names, seed)
    report("balancing", 0, 0)
    numbers = _assign(known, plan)
    report("writing", 0, 0)
    named = pl.Series("split", names).gather(numbers)
    write_split(space, rows.select("key").with_columns(named), audit, options)
    report("checking", 0, 0)
    check = _prove(space)
    splits = _list_splits(check, plan, names, known.fixed)
    given, fixed = rows["line"].count(), int((known.fixed >= 0).sum())
    return SplitResult(
        path=space.split,
        splits=splits,
        labels=_balance(histograms, numbers, names, splits, labels_of_audit(audit)),
        absent=list_absent(
            space,
            audit,
            histograms,
            groups=rows["group"],
            units=known.units,
            split_names=named,
            splits=[one.name for one in splits],
        ),
        groups=tuple(frame.select("key", "group").head(SHOWN).iter_rows()),
        ungrouped=rows["group"].null_count(),
        proposed=None if check.groups else propose_groups(frame["key"]),
        given=given,
        kept=rows["given"].count() - given,
        followed=fixed - rows["given"].count(),
        assigned=len(rows) - fixed,
        excluded=len(manifest) - len(samples),
        pairs=Path(audit.options.pairs) if given and audit.options.pairs else None,
        check=check,
        options=options,
        audit=audit.command,
        manifest_digest=audit.manifest_digest,
    )


def _join(rows: pl.DataFrame, histograms: LabelHistograms, names: tuple[str, ...], seed: int) -> Samples:
    """The samples in units, with the splits that units have already, as numbers of `names`."""
    groups, digests = _codes(rows["group"]), _codes(rows["image_digest"])
    units = join_units(groups, digests)
    numbers = {name: number for number, name in enumerate(names)}
    fixed = rows["given"].replace_strict(numbers, default=-1, return_dtype=pl.Int64).to_numpy()
    refuse_conflicts(rows, fixed, groups=groups, digests=digests, units=units)
    return Samples(
        hashes=keyed_hashes(rows["key"], seed),
        units=units,
        conditional=(rows["role"] == "conditional").to_numpy(),
        fixed=spread_splits(fixed, units),
        **histograms._asdict(),
    )


def _assign(samples: Samples, plan: Plan) -> Integers:
    """Number of the split of each sample.

    Raises:
        TooFewSamplesError: a split of the plan would stay empty.
    """
    free = samples.fixed < 0
    if not free.any():
        return samples.fixed
    units = len(np.unique(samples.units[free]))
    empty = [name for number, name in enumerate(plan.names) if not (samples.fixed == number).any()]
    if units < len(empty):
        there = f"there {'is' if units == 1 else 'are'} only {units}"
        raise TooFewSamplesError(
            f"Each of {len(empty)} splits needs a group or a single image, but {there} to share out; "
            "ask for fewer splits."
        )
    elsewhere, conditional = samples.fixed >= len(plan.names), samples.conditional
    targets = plan.sizes(int(conditional.sum()), int((~conditional).sum()))
    targets[:, 0] -= (elsewhere & conditional).sum(), (elsewhere & ~conditional).sum()
    numbers = assign(samples, targets)
    for name in empty:
        if not (numbers == plan.names.index(name)).any():
            raise TooFewSamplesError(
                f"{name} would get no samples: the {free.sum():,} to share out are in {units:,} groups or single "
                "images, too few to give it one; give it a larger fraction."
            )
    return numbers


def _codes(values: pl.Series) -> Integers:
    """A number for each value, from 0; -1 where there is none."""
    codes: Integers = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return codes


def _prove(space: Workspace) -> SplitCheck:
    """Read the split back and check it.

    Raises:
        HistodsError: something leaks; the file is removed.
    """
    check = check_split(space)
    if not check.sound:
        space.split.unlink()
        raise HistodsError(
            f"The split is not sound: {check.straddling_groups} groups and "
            f"{check.straddling_duplicates} sets of duplicates are in several splits, {check.missing} samples "
            f"have none, {check.doubled} keys are doubled, {check.unknown} are unknown; report this, nothing was "
            "written."
        )
    return check


def _list_splits(check: SplitCheck, plan: Plan, names: tuple[str, ...], fixed: Integers) -> tuple[SplitSize, ...]:
    """The splits on disk, in the order of `names`; targets are percent of all samples."""
    targets: dict[str, float] = {}
    if (fixed < 0).any():
        targets = {name: 100 * fraction for name, fraction in zip(plan.names, plan.fractions, strict=True)}
        targets[plan.names[0]] -= 100 * float((fixed >= len(plan.names)).mean())
    return tuple(
        SplitSize(
            name=name,
            conditional=check.sizes[name][0],
            unconditional=check.sizes[name][1],
            target=targets.get(name),
        )
        for name in names
        if name in check.sizes
    )


def _balance(
    histograms: LabelHistograms,
    numbers: Integers,
    names: tuple[str, ...],
    splits: tuple[SplitSize, ...],
    known: LabelTable,
) -> tuple[LabelBalance, ...]:
    """Where the pixels of each label are."""
    split_of = np.repeat(numbers, np.diff(histograms.offsets))
    labels, columns = np.unique(histograms.labels, return_inverse=True)
    # Weights are summed as float64, which is exact up to 2**53 pixels: 34 billion patches of 512x512.
    cells = np.bincount(columns * len(names) + split_of, histograms.pixels, len(labels) * len(names))
    table = cells.reshape(len(labels), len(names))[:, [names.index(one.name) for one in splits]]
    balances = []
    for label, row in zip(labels.tolist(), table, strict=True):
        pixels = int(row.sum())
        percent = (100 * row / max(pixels, 1)).tolist()
        off = [
            abs(one - made.target) for one, made in zip(percent, splits, strict=True) if made.target is not None
        ]
        balances.append(
            LabelBalance(
                label=label,
                name=known.name(label),
                pixels=pixels,
                percent=tuple(percent),
                deviation=max(off, default=0.0),
            )
        )
    return tuple(balances)
