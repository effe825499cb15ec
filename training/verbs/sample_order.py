"""What a call of `sample` asks for, and its recipe, which is recorded with the images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from histods.io.workspace import read_json
from training.runs.post_hoc_ema import MAX_MISFIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from histods.io.workspace import Workspace
    from training.autoencoders.base import Autoencoder
    from training.inference.mask_inputs import MaskFile
    from training.inference.output_folder import ImageFormat
    from training.inference.sampling import Sampling
    from training.runs.checkpoint import Run, Weights
    from training.runs.post_hoc_ema import Average
    from training.verbs.generate_masks import MaskOrder


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to make, and how; see `training.verbs.sample.sample`."""

    space: Workspace
    run: Run
    masks: Path
    generated: MaskOrder | None
    out: str | Path | None
    map: str | Path | None
    count: int
    sampling: Sampling
    tuned: tuple[str, ...]
    guide: Run | None
    weights: Weights
    ema_length: float | None
    average: Average | None
    seed: int
    batch: int
    format: ImageFormat
    keep: Path | None
    change: Path | None
    device: str | None

    @property
    def title(self) -> str:
        """What the images are made with, for their contact sheet."""
        run, weights = self.run, self.weights
        length = "" if self.ema_length is None else f" of length {self.ema_length:g}"
        by = "" if self.guide is None else f" by {self.guide.folder.name}, step {self.guide.step:,}"
        how = f"{self.sampling}{by}, seed {self.seed}"
        return f"{run.folder.name}, step {run.step:,} ({weights}{length}): {how}"


def recipe_of(
    order: Order, autoencoder: Autoencoder, masks: Sequence[MaskFile], *, half: bool, kept: str | None
) -> dict[str, Any]:
    """Everything that a file depends on besides its mask and its number."""
    run = order.run
    large = any(max(mask.height, mask.width) > run.config.model.image_size for mask in masks)
    return {
        **origin_of(run, order.weights),
        **({} if order.average is None else average_of(order.average, order.ema_length)),
        "autoencoder_digest": autoencoder.digest,
        "classes": list(run.classes),
        **order.sampling.recipe(),
        **({} if order.guide is None else {"guide": origin_of(order.guide, order.weights)}),
        **({} if kept is None else {"kept": kept}),
        **({} if order.generated is None else {"masks": order.generated.recipe}),
        "precision": "bf16" if half else "fp32",
        "noise": "philox4x32",  # how a seed becomes noise
        "window": run.config.model.image_size,  # larger images are sampled in windows of this size
        **({"windows": "random"} if large and order.sampling.reference else {}),  # elsewhere on a moving grid
        "format": order.format,  # the audit takes one image per mask, not one of each format
        "seed": order.seed,
    }


def origin_of(run: Run, weights: Weights) -> dict[str, Any]:
    """A network and its weights."""
    files = read_json(run.checkpoint / "state.json").get("files", {})
    network = [asdict(run.config.model), asdict(run.config.diffusion), run.state.latent_space]
    return {
        "run": run.folder.name,
        "step": run.step,
        "weights": weights,
        "weights_digest": files.get(f"{weights}.safetensors", ""),
        "network_digest": hashlib.sha256(json.dumps(network, sort_keys=True).encode()).hexdigest(),
    }


def average_of(average: Average, length: float | None) -> dict[str, Any]:
    """An average that is made from snapshots."""
    parts = [
        [read_json(folder / "state.json").get("files", {}).get(f"{part}.safetensors", ""), factor]
        for folder, part, factor in average.terms
    ]
    return {"ema_length": length, "weights_digest": hashlib.sha256(json.dumps(parts).encode()).hexdigest()}


def warn_of_average(order: Order) -> tuple[str, ...]:
    """A line if the average of weights is far from the one that was asked for."""
    if order.average is None or order.average.error <= MAX_MISFIT:
        return ()
    off = f"its profile is off by {order.average.error:.0%}"
    return (f"the average of length {order.ema_length} is only approximated, from too few snapshots: {off}",)
