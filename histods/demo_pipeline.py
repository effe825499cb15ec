"""demo: make a small synthetic skin-like dataset with planted defects, and run everything on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.images.reader import decode_mask
from histods.io.atomic import write_bytes, write_text
from histods.io.workspace import Workspace
from histods.printing import printed
from histods.steps.audit import audit
from histods.steps.remap import RemapResult, remap
from histods.steps.shard import ShardResult, shard
from histods.steps.split import SplitResult, split
from histods.synthetic import Fault, make_demo, make_unconditional, read_faults
from reports.charts import PlotResult, plot
from reports.page.write import ReportResult, report

if TYPE_CHECKING:
    from histods.measurement.audit_result import AuditResult
    from histods.records import Progress
    from training.verbs.encode import EncodeResult
    from training.verbs.sample import SampleResult
    from training.verbs.train import TrainResult

MARK = "MADE_BY_HISTODS_DEMO.txt"
MAPS = ("label_map_5.yml", "label_map_10.yml")
STEPS = 400
"""Steps of training: a minute or two on two cores."""
SIDE = 128
"""Of patches, pixels: large enough to see tissue in, small enough to train on quickly."""
PAIRS = 600
VAL, TEST = 0.25, 0.25
"""Shares of the samples, six slides each: `tune` decides from five on, and `evaluate` sees how slides differ."""
SETTINGS = (
    *("run.checkpoint_every=100", "run.validate_every=100", "run.preview_every=200"),
    *("ema.snapshots_every=100", "data.workers=1"),
)
SAMPLED_MASKS = 8
SAMPLING_STEPS = 10


@printed()
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DemoResult:
    """What the demo made and whether the audit found exactly what was planted.

    Attributes:
        folder: the demo's folder, with `dataset/`, `unlabelled/`, `planted.csv` and the workspace.
        workspace: the workspace in it.
        planted: every finding that had to be reported, as (code, path).
        missed: planted, and not found.
        invented: found, and not planted.
        audit: result of the audit.
        remaps: results of the label maps.
        plot: result of plotting.
        split: result of the split by slides.
        shards: result of writing shards of the first label map, and of reading every byte of them again.
        training: what was trained on them; None where PyTorch is not installed.
        report: the page of all of it.
    """

    folder: Path
    workspace: Path
    planted: frozenset[tuple[str, str]]
    missed: frozenset[tuple[str, str]]
    invented: frozenset[tuple[str, str]]
    audit: AuditResult
    remaps: tuple[RemapResult, ...]
    plot: PlotResult
    split: SplitResult
    shards: ShardResult
    training: Training | None
    report: ReportResult


@printed()
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """What the demo trained: latents, a small network, and images for some masks of the test split."""

    latents: EncodeResult
    run: TrainResult
    samples: SampleResult


def demo(
    folder: str | Path = "histods-demo",
    *,
    steps: int = STEPS,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Make the demo dataset in `folder`, or take the one that is there, and run every step on it.

    Args:
        folder: new, empty, or made by an earlier demo.
        steps: the number of training steps of the small network.
        workers: worker processes; all usable cores by default.
        progress: called as the work proceeds.

    Raises:
        HistodsError: the folder holds something else.
    """
    folder = Path(folder)
    dataset, workspace = folder / "dataset", folder / "histods-out"
    if progress is not None:
        progress("making the dataset", 0, 0)
    planted = frozenset((fault.code, fault.path) for fault in _plant(folder, dataset))
    audited = audit(
        dataset,
        workspace=workspace,
        unconditional=[folder / "unlabelled"],
        labels=folder / "dataset_labels.yml",
        group_regex=r"(slide_\d+)",
        hash=True,
        workers=workers,
        progress=progress,
    )
    found = frozenset((finding.code, finding.path) for finding in audited.iter_findings())
    remaps = tuple(remap(workspace=workspace, map=name) for name in MAPS)
    if progress is not None:
        progress("drawing charts", 0, 0)
    charts = plot(workspace)
    splits = split(workspace=workspace, test=TEST, val=VAL, progress=progress)
    shard(workspace=workspace, map=MAPS[0], workers=workers, progress=progress)
    shards = shard(workspace=workspace, verify=True, workers=workers, progress=progress)
    training = _train(folder, workspace, shards.map, steps, progress) if find_spec("torch") else None
    return DemoResult(
        folder=folder,
        workspace=workspace,
        planted=planted,
        missed=planted - found,
        invented=found - planted,
        audit=audited,
        remaps=remaps,
        plot=charts,
        split=splits,
        shards=shards,
        training=training,
        report=report(workspace, progress=progress),
    )


def _train(folder: Path, workspace: Path, label_map: str, steps: int, progress: Progress | None) -> Training:
    """Encode the shards, train a small network on them, and make images for masks that it has not seen."""
    from training.runs.checkpoint import newest
    from training.verbs.encode import encode
    from training.verbs.sample import sample
    from training.verbs.train import train

    latents = encode(workspace=workspace, device="cpu", progress=progress)
    run = train(
        workspace=workspace,
        settings=[*SETTINGS, f"run.steps={steps}"],
        name="demo",
        map=label_map,
        resume=newest(Workspace(workspace).runs / "demo") is not None,
        device="cpu",
        progress=progress,
    )
    masks = folder / "test_masks"
    _write_masks(workspace / "shards", masks)
    return Training(
        latents=latents,
        run=run,
        samples=sample(
            run=run.folder,
            masks=masks,
            workspace=workspace,
            count=2,
            steps=SAMPLING_STEPS,
            device="cpu",
            progress=progress,
        ),
    )


def _write_masks(shards: Path, folder: Path) -> None:
    """The masks of the test split that hold the most classes, as the shards have them."""
    from histods.shards.images.reader import ShardReader

    reader = ShardReader(shards, ["test"])
    masks = {reader.key(sample): mask for sample in range(len(reader)) if (mask := reader.read(sample).mask)}
    variety = {key: len(np.unique(decode_mask(mask).labels)) for key, mask in masks.items()}
    for key in sorted(variety, key=lambda key: (-variety[key], key))[:SAMPLED_MASKS]:
        write_bytes(folder / f"{key.replace('/', '-')}_mask.png", masks[key])


def _plant(folder: Path, dataset: Path) -> tuple[Fault, ...]:
    """Make the dataset, or read what an earlier demo planted in it."""
    listed = folder / "planted.csv"
    if listed.is_file():
        return read_faults(listed)
    mark = folder / MARK
    if folder.exists() and not mark.is_file() and (folder.is_file() or any(folder.iterdir())):
        raise HistodsError(f"{folder} is not new, empty or from an earlier demo; choose another folder.")
    if mark.is_file():  # a demo was killed while it made its dataset: only what it had made is made again
        for part in (folder / "unlabelled", dataset, folder / "dataset_outside", *folder.glob(".*.part")):
            shutil.rmtree(part, ignore_errors=True)
    write_text(mark, "This folder was made by 'histods demo'.\n")
    make_unconditional(folder / "unlabelled", size=SIDE)
    planted = make_demo(dataset, pairs=PAIRS, size=SIDE)
    planted.write_planted_csv(listed)
    return planted.faults
