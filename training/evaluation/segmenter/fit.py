"""Training of the segmenter: a short loop that resumes after any kill, and a cache of finished ones.

```
FOLDER/DIGEST/checkpoint.safetensors  weights and optimizer of a training that is under way
FOLDER/DIGEST/segmenter.*             the finished segmenter
```

DIGEST is that of samples, classes, groups and settings. On a CPU, the same call writes the same bytes, interrupted
or not; GPUs compute in bfloat16, and add in an order that varies.

Shapes: B images, H and W pixels, C classes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch.nn.functional import cross_entropy

from histods.errors import HistodsError
from histods.io.atomic import only_one
from histods.records import Progress, silent
from training.distributed import choose_device
from training.evaluation.segmenter.faithfulness import agreement, confusion, ignored_class
from training.evaluation.segmenter.network import FACTOR, VERSION, Network
from training.evaluation.segmenter.samples import (
    NO_CLASS,
    Batches,
    choose_held_out,
    measure,
    read_sample,
    spread,
)
from training.evaluation.segmenter.segmenter import (
    DESCRIPTION,
    Description,
    Normaliser,
    Segmenter,
    Validation,
    save_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from training.evaluation.segmenter.samples import Batch, Samples, Statistics

CHECKPOINT = "checkpoint.safetensors"
_EVERY = 50  # steps between checkpoints
_VALIDATED = 128  # held-out images that are judged
_RATE, _RISING = 3e-3, 0.1  # highest learning rate; share of the steps in which it rises
_MAX_NORM = 1.0  # of the gradient
_AHEAD = 2  # batches that are read while another one is trained on


def fit_segmenter(
    samples: Samples,
    *,
    classes: Sequence[str],
    folder: Path,
    steps: int,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
    batch_size: int = 8,
    crop: int = 128,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Segmenter:
    """Train a segmenter, resume its training, or find it in the cache.

    The loss is the cross-entropy of each pixel, weighted by 1 / sqrt(share of its class); the optimizer is AdamW
    (Loshchilov and Hutter 2019), with a rate that rises linearly and falls along a cosine. A tenth of the samples
    is held out, by whole groups if there are any, and the Dice of their classes is recorded.

    Args:
        samples: images and masks of classes.
        classes: names of the classes; class 0 is not learned if it is called unknown or unlabelled.
        folder: the cache; the segmenter is in a folder of its own below it.
        steps: steps to train for.
        seed: of weights, order, crops and views.
        groups: group (slide, patient) of each sample, or None.
        batch_size: samples per step.
        crop: side of the crops to train on in pixels, a multiple of 16; smaller if all images are smaller.
        device: where to train; by default a GPU if there is one.
        progress: called with stage, steps done and steps.

    Raises:
        HistodsError: a sample is not sound, the samples have fewer than two classes, or another process is
            training the same segmenter.
        MissingExtraError: MONAI is not installed.
    """
    if steps < 1 or not len(samples):
        raise HistodsError(f"{len(samples)} samples and {steps} steps make no segmenter; give one or more.")
    known = hashlib.sha256(json.dumps(None if groups is None else list(groups)).encode()).hexdigest()
    settings: dict[str, int | str] = {
        "steps": steps, "seed": seed, "batch_size": batch_size, "crop": crop, "groups": known
    }  # fmt: skip
    identity = [VERSION, samples.digest, len(samples), list(classes), settings]
    own = folder / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    chosen = choose_device(device)
    with only_one(own, "trains a segmenter"):
        if not (own / DESCRIPTION).is_file():
            _Fit(samples, tuple(classes), own, settings, groups, chosen, progress).run()
        (own / CHECKPOINT).unlink(missing_ok=True)
        return Segmenter.load(own, chosen)


class _Fit:
    """One training, from its last checkpoint to the files of the segmenter."""

    def __init__(
        self,
        samples: Samples,
        classes: tuple[str, ...],
        folder: Path,
        settings: dict[str, Any],
        groups: Sequence[str | None] | None,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._samples, self._classes, self._folder = samples, classes, folder
        self._settings, self._device, self._progress = settings, device, progress
        self._ignored = ignored_class(classes)
        held_out = choose_held_out(len(samples), groups)
        self._trained, self._held_out = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self._by_group = groups is not None

    def run(self) -> None:
        """Train, validate, and write the segmenter."""
        measured = measure(self._samples, self._trained, len(self._classes), self._progress)
        weights_C = self._class_weights(measured)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._settings["seed"])
            network = Network(len(self._classes))
        self._train(network.to(self._device), measured, weights_C.to(self._device))
        plain = self._describe(measured, Validation(images=0, by_group=self._by_group, dice=(), mean_dice=None))
        validation = self._validate(Segmenter(network, plain))
        Segmenter(network, self._describe(measured, validation)).save(self._folder)

    def _class_weights(self, measured: Statistics) -> Tensor:
        """Weight [C] of each class: 1 / sqrt(its share); 0 if it is ignored or no pixel has it."""
        pixels = torch.tensor(measured.pixels, dtype=torch.float64)
        if self._ignored is not None:
            pixels[self._ignored] = 0
        if (pixels > 0).sum() < 2:
            raise HistodsError(
                "The masks have fewer than two classes to tell apart, so no segmenter can be trained on them; "
                "give masks with more classes."
            )
        return torch.where(pixels > 0, (pixels / pixels.sum()).rsqrt(), 0.0).float()

    def _train(self, network: Network, measured: Statistics, weights_C: Tensor) -> None:
        steps, every = self._settings["steps"], _EVERY
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=1e-2)
        first = _resume(self._folder / CHECKPOINT, network, optimizer)
        batches = Batches(
            self._samples,
            self._trained,
            classes=len(self._classes),
            seed=self._settings["seed"],
            batch_size=self._settings["batch_size"],
            crop=min(self._settings["crop"], measured.side + -measured.side % FACTOR),
        )
        normalise = Normaliser(measured.mean, measured.std, self._device)
        network.train()
        for step, batch in enumerate(_ahead(batches, range(first, steps)), first):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * rate_at(step, steps)
            targets_BHW = torch.from_numpy(batch.targets_BHW).to(self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                logits_BCHW = network(normalise(batch.images_BHW3))
            optimizer.zero_grad()
            _loss(logits_BCHW.float(), targets_BHW, weights_C).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_NORM)
            optimizer.step()
            done = step + 1
            if done % every == 0 and done < steps:
                _save_checkpoint(self._folder / CHECKPOINT, network, optimizer, done)
            self._progress("training the segmenter", done, steps)

    def _validate(self, segmenter: Segmenter) -> Validation:
        """Dice of the held-out samples, one at a time, since they may differ in size."""
        classes = len(self._classes)
        counts_CC = np.zeros((classes, classes), np.int64)
        chosen = spread(self._held_out, _VALIDATED)
        for done, index in enumerate(chosen):
            image, mask = read_sample(self._samples, index, classes)
            labels = segmenter.predict(image[None])
            counts_CC += confusion(mask[None], labels, classes=classes, ignored=self._ignored)
            self._progress("validating the segmenter", done + 1, len(chosen))
        found = agreement(counts_CC)
        return Validation(images=len(chosen), by_group=self._by_group, dice=found.dice, mean_dice=found.mean_dice)

    def _describe(self, measured: Statistics, validation: Validation) -> Description:
        return Description(
            version=VERSION,
            data=self._samples.digest,
            classes=self._classes,
            ignored=self._ignored,
            settings=self._settings,
            samples=len(self._trained),
            mean=measured.mean,
            std=measured.std,
            validation=validation,
        )


def rate_at(step: int, steps: int) -> float:
    """Learning rate of a step (from 0) as a share of the highest: a linear rise, then half a cosine."""
    rising = max(1.0, _RISING * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1.0, steps - rising))


def _loss(logits_BCHW: Tensor, targets_BHW: Tensor, weights_C: Tensor) -> Tensor:
    """Weighted mean of the cross-entropy; 0 where no pixel of the batch counts."""
    total = cross_entropy(logits_BCHW, targets_BHW, weights_C, ignore_index=NO_CLASS, reduction="sum")
    whole = weights_C[targets_BHW.clamp_min(0)][targets_BHW != NO_CLASS].sum()
    return total / whole.clamp_min(1e-6)


def _ahead(batches: Batches, steps: range) -> Iterator[Batch]:
    """The batches of some steps; the next ones are read in a thread."""
    with ThreadPoolExecutor(1, "segmenter") as thread:
        waiting = iter(steps)
        pending = deque(thread.submit(batches.at, step) for step in islice(waiting, _AHEAD))
        while pending:
            batch = pending.popleft().result()
            pending.extend(thread.submit(batches.at, step) for step in islice(waiting, 1))
            yield batch


def _save_checkpoint(path: Path, network: Network, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"model:{name}": tensor for name, tensor in network.state_dict().items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer:{place}:{name}": tensor for name, tensor in state.items()}
    save_tensors(path, tensors, {"step": str(step)})


def _resume(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint; the steps that it has done, 0 if there is none or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError):
        return 0
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(":")
        if kind == "optimizer":
            place, _, key = rest.partition(":")
            state.setdefault(int(place), {})[key] = tensor
    network.load_state_dict(
        {name.removeprefix("model:"): tensor for name, tensor in tensors.items() if name.startswith("model:")}
    )
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step
