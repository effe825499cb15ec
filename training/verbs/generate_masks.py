"""Make masks with a run of masks, for `sample` to make images for."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from histods.errors import HistodsError
from histods.io.atomic import only_one
from histods.io.workspace import read_json
from training.data.masks import SHARES
from training.inference.generated_masks import MaskFolder, complete, parse_proportions, parse_size
from training.inference.mask_pipeline import SETTLING_ROUNDS, MaskPipeline, enlarge, fill_shares
from training.inference.output_folder import digest_of, seed_of
from training.inference.sampling import Sampling
from training.runs.checkpoint import load_model, read_run, read_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from histods.io.workspace import Workspace
    from histods.records import Progress
    from training.distributed import Process
    from training.runs.checkpoint import Run

MASK_RUN = "masks"
"""The default name of a run of masks."""
_TOGETHER = {"cpu": 1, "cuda": 8}
"""Masks made at once. Rounding depends on the batch, so its size is fixed, and a batch is always made whole,
whatever the number of masks that are asked for: a mask depends on its number alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskOrder:
    """The masks to make.

    Attributes:
        run: the run of masks.
        home: the folder for folders of generated masks.
        proportions: shares of classes by name; others are free.
        height: height of the masks, pixels.
        width: their width.
        count: number of masks.
        seed: the seed of all masks.
    """

    run: Run
    home: Path
    proportions: dict[str, float]
    height: int
    width: int
    count: int
    seed: int

    @property
    def folder(self) -> MaskFolder:
        """Where masks of this recipe are."""
        name = f"{self.run.folder.name}-{self.run.checkpoint.name}-{digest_of(self.recipe)[:8]}"
        return MaskFolder(self.home / name, self.recipe)

    @property
    def sampling(self) -> Sampling:
        """How noise becomes masks: as the run is configured."""
        return Sampling.of(self.run.config.diffusion)

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything that a mask depends on besides its number."""
        run, sampling = self.run, self.sampling
        files = read_json(run.checkpoint / "state.json").get("files", {})
        network = [asdict(run.config.model), asdict(run.config.diffusion), run.state.latent_space]
        return {
            "run": run.folder.name,
            "step": run.step,
            "weights_digest": files.get("ema.safetensors", ""),
            "network_digest": hashlib.sha256(json.dumps(network, sort_keys=True).encode()).hexdigest(),
            "classes": list(run.classes),
            "proportions": self.proportions,
            "width": self.width,
            "height": self.height,
            "reduce": run.config.data.reduce,
            "sampler": sampling.sampler,
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "settling_rounds": SETTLING_ROUNDS,
            "seed": self.seed,
        }


def order_masks(
    space: Workspace,
    images: Run,
    *,
    mask_run: str | Path | None,
    proportions: str | Mapping[str, float] | None,
    size: str | None,
    count: int,
    seed: int,
) -> MaskOrder:
    """Check what was asked for.

    Args:
        space: the workspace.
        images: the run that makes images for the masks.
        mask_run: a run's folder, one of its checkpoints, or its name among the workspace's runs; None for `masks`.
        proportions: shares of classes by name; None leaves all of them free.
        size: `SIDE` or `WIDTHxHEIGHT`; None for that of the images that the other run was trained on.
        count: number of masks.
        seed: the seed of all masks.

    Raises:
        HistodsError: there is no such run, it has other classes, or proportions or size are wrong.
    """
    run = _find_mask_run(mask_run, space)
    if run.classes != images.classes:
        here, there = (f"{len(one.classes)} ({', '.join(one.classes[:4])}, ...)" for one in (run, images))
        raise HistodsError(
            f"{run.folder} makes masks of the classes {here}, but {images.folder} was trained on {there}: give "
            "runs of one label map."
        )
    trained = images.config.model.image_size * images.config.data.reduce
    height, width = parse_size(str(trained) if size is None else size)
    return MaskOrder(
        run=run,
        home=space.folder / "generated_masks",
        proportions=parse_proportions(proportions or {}, run.classes),
        height=height,
        width=width,
        count=count,
        seed=seed,
    )


def _find_mask_run(given: str | Path | None, space: Workspace) -> Run:
    name = MASK_RUN if given is None else given
    try:
        run = read_run(name, space.runs)
    except HistodsError as error:
        if not str(error).startswith("There is no run"):
            raise
        named = "" if given is None else f" --name {given}"
        raise HistodsError(
            f"There is no run of masks {name}, as a folder or in {space.runs}: train one with "
            f"'histods train --what masks{named}{space.option}', or name another with --mask-run."
        ) from error
    run.expect("masks", "--mask-run")
    return run


def make_masks(order: MaskOrder, process: Process, progress: Progress) -> dict[str, Path]:
    """Make the masks that do not exist yet; all processes share the work.

    Returns:
        The file of each mask by name.

    Raises:
        HistodsError: a file cannot be written, or the network's weights have diverged.
    """
    store = order.folder
    together = _TOGETHER.get(process.device.type, 1)
    batches = [range(first, first + together) for first in range(0, order.count, together)]
    with ExitStack() as held:
        with process.together():
            if process.first:
                held.enter_context(only_one(store.folder, "makes masks"))
                store.claim()
            missing = [batch for batch in batches if _lacks(store, batch, order.count)]
        missing = process.tell(missing if process.first else None)
        with process.together():
            own = missing[process.rank :: process.world_size]
            if own:
                _make(order, own, store, process.device, progress)
    return {store.name(number): store.path(number) for number in range(order.count)}


def _lacks(store: MaskFolder, batch: range, count: int) -> bool:
    """Whether a mask of a batch, below the count, does not exist."""
    return any(not store.path(number).is_file() for number in batch if number < count)


def _make(
    order: MaskOrder, batches: Sequence[range], store: MaskFolder, device: torch.device, progress: Progress
) -> None:
    config = order.run.config
    pipeline = MaskPipeline(
        model=load_model(order.run, device=device),
        schedule=order.run.schedule.to(device),
        space=order.run.space,
        prediction=config.diffusion.prediction,
        sampling=order.sampling,
        device=device,
        window=config.model.image_size,
    )
    factor, multiple = config.data.reduce, config.model.size_multiple
    cells = tuple(-(-side // (factor * multiple)) * multiple for side in (order.height, order.width))
    shares_NK = read_tensors(order.run.checkpoint, SHARES)["shares_NK"].numpy()
    wanted_K = np.array([order.proportions.get(name, np.nan) for name in order.run.classes])
    for place, batch in enumerate(batches):

        def tell(step: int, steps: int, before: int = place) -> None:
            progress("making masks, in steps", before * steps + step, len(batches) * steps)

        large = max(cells) > pipeline.window
        for part in [[number] for number in batch] if large else [list(batch)]:
            seeds = [seed_of(order.seed, f"masks/{number}", 0) for number in part]
            full_BK = torch.tensor(np.stack([complete(wanted_K, shares_NK, seed) for seed in seeds])).float()
            planes_BKhw = pipeline(full_BK, (cells[0], cells[1]), seeds, tell)
            filled_BKhw = fill_shares(planes_BKhw, full_BK.to(device))
            for number, filled_Khw in zip(part, filled_BKhw, strict=True):
                if number < order.count and not store.path(number).is_file():
                    store.write(number, enlarge(filled_Khw, factor, order.height, order.width))
