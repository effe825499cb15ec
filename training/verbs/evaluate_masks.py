"""evaluate_masks: compare the masks of a run of masks with real masks of slides that were held out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.images.reader import read_mask
from histods.io.atomic import only_one
from histods.io.mask_evaluation_file import MaskEvaluationFile
from histods.io.workspace import Workspace
from histods.printing import printed
from histods.records import silent
from training.distributed import processes
from training.evaluation.comparison import choose_real
from training.evaluation.masks import compare_masks
from training.evaluation.result_folder import check_place, claim
from training.inference.output_folder import digest_of
from training.runs.checkpoint import read_run
from training.verbs.generate_masks import MASK_RUN, MaskOrder, make_masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from histods.io.mask_evaluation_file import MaskComparison
    from histods.records import Progress

MASK_COUNT = 200
"""Masks to generate by default."""


@printed(hide=("comparison",))
@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateMasksResult:
    """How generated masks differ from real ones.

    Attributes:
        record: the comparison as JSON.
        masks: folder of the generated masks.
        run: name of the run.
        step: training steps of its weights.
        split: the split of the real masks.
        comparison: what was found.
        warnings: sentences about what to be careful with.
    """

    record: Path
    masks: Path
    run: str
    step: int
    split: str
    comparison: MaskComparison
    warnings: tuple[str, ...]


def evaluate_masks(
    *,
    run: str | Path = MASK_RUN,
    workspace: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    count: int = MASK_COUNT,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> EvaluateMasksResult:
    """Generate masks with a run of masks and compare them with real masks: classes, regions and borders.

    Every distance stands beside its floor, the same distance between halves of the real masks, cut by slide. A
    killed call goes on when called again.

    Args:
        run: a run's folder, one of its checkpoints, or its name among the workspace's runs.
        workspace: folder of runs, shards, generated masks and evaluations.
        data: folder of shards; by default those of the workspace.
        split: the split of the real masks; by default `test`, else `val`.
        count: number of masks to generate, of the size of the training masks before their reduction.
        out: folder for the result; by default one in `evaluations` of the workspace.
        seed: the seed of masks and halves.
        device: `cpu` or `cuda`; by default a GPU if there is one.
        progress: called with a stage, what is done of it, and all.

    Raises:
        HistodsError: it is no run of masks, there is no held-out split, or a mask is damaged.
    """
    if count < 1:
        raise HistodsError(f"--count is {count}; it must be at least 1: give another number.")
    space = Workspace.find(workspace)
    read = read_run(run, space.runs)
    read.expect("masks", "--run")
    shards = space.shards if data is None else Path(data)
    real = choose_real(read, shards, split, count, latents=space.latents, option=space.option)
    reduce = read.config.data.reduce
    height, width = real.held_out.whole_mask(0).shape
    order = MaskOrder(
        run=read,
        home=space.folder / "generated_masks",
        proportions={},
        height=height,
        width=width,
        count=count,
        seed=seed,
    )
    identity = [real.held_out.digest, order.folder.folder.name, count, seed]
    name = f"{read.folder.name}-{read.checkpoint.name}-{digest_of(identity)[:8]}"
    folder = Path(out) if out is not None else space.evaluations / name
    check_place(space, folder, ())
    with only_one(folder, "evaluates"):
        claim(folder, identity)
        with processes(device) as process:
            made = make_masks(order, process, progress or silent)
        comparison = compare_masks(
            (real.held_out.whole_mask(index) for index in range(len(real.held_out))),
            real.held_out.groups,
            (_read(path) for path in made.values()),
            read.classes,
            strip=max(2, 2 * reduce),
            seed=seed,
        )
        record = MaskEvaluationFile(
            run=read.folder.name,
            step=read.step,
            split=real.split,
            warnings=real.warnings,
            **{field.name: getattr(comparison, field.name) for field in fields(comparison)},
        ).write(folder)
    return EvaluateMasksResult(
        record=record,
        masks=order.folder.folder,
        run=read.folder.name,
        step=read.step,
        split=real.split,
        comparison=comparison,
        warnings=real.warnings,
    )


def makes_masks(run: str | Path, workspace: str | Path | None) -> bool:
    """Whether a run makes masks; not if there is no such run."""
    try:
        return read_run(run, Workspace.find(workspace).runs).config.data.what == "masks"
    except HistodsError:
        return False


def _read(path: Path) -> NDArray[np.uint8]:
    return read_mask(path).labels.astype(np.uint8, copy=False)
