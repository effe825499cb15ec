"""sample: make images for masks with a trained run, each next to its mask, and a contact sheet."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from histods.errors import HistodsError
from histods.io.atomic import only_one, write_bytes
from histods.io.samples_elsewhere import note_place
from histods.io.workspace import Workspace, read_json, refuse_file
from histods.printing import printed
from histods.records import silent
from training.distributed import describe, processes
from training.gpu_processes import gpus_to_share, in_processes
from training.inference.contact_sheet import draw_sheet
from training.inference.kept_images import KeptImages
from training.inference.mask_inputs import MaskReader, check_masks, choose_map, find_masks, sizes_of
from training.inference.output_folder import ImageFormat, SampleFolder, digest_of, plan_items
from training.inference.pipeline import SamplingPipeline
from training.inference.sampling import Sampler, Sampling
from training.inference.tuned_sampling import TunedSampling
from training.runs.checkpoint import Run, Weights, load_model, read_run
from training.runs.post_hoc_ema import plan_average
from training.verbs.generate_masks import MaskOrder, make_masks, order_masks
from training.verbs.guide_run import read_guide
from training.verbs.sample_order import Order, recipe_of, warn_of_average

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from histods.records import Progress
    from training.autoencoders.base import Autoencoder
    from training.diffusion.levels import Levels
    from training.inference.output_folder import Item
    from training.model.unet import UNet

GENERATED = "generated"
"""Given instead of masks: make them first, with a run of masks."""
_PATIENCE = timedelta(days=1)  # one process may have one batch more than another, or a slower GPU


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class SampleResult:
    """What was made, and from what.

    Attributes:
        folder: where the images and their masks are.
        contact_sheet: file with coloured masks next to their images.
        record: file with the recipe and a record of each image, as JSON.
        run: folder of the run.
        step: number of training steps of the weights.
        weights: `ema` or `model`.
        sampling: sampler, steps, guidance and all else about how noise became images.
        tuned: names of its settings that `tune` found, and were not given.
        seed: the seed of the call.
        device: description of the device.
        masks: number of masks with images.
        written: number of images that this call made.
        present: number of images that already existed.
        passed_over: number of other files in the folder of masks.
        warnings: warnings, one line each.
    """

    folder: Path
    contact_sheet: Path
    record: Path
    run: Path
    step: int
    weights: Weights
    sampling: Sampling
    seed: int
    device: str
    masks: int
    written: int
    present: int
    passed_over: int
    tuned: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def sample(
    *,
    run: str | Path = "default",
    masks: str | Path,
    workspace: str | Path | None = None,
    out: str | Path | None = None,
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    count: int = 1,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    eta: float | None = None,
    reference: bool = False,
    guidance_interval: tuple[float, float] | None = None,
    guidance_rescale: float = 0.0,
    guide: str | Path | None = None,
    levels: Levels | None = None,
    weights: Weights = "ema",
    ema_length: float | None = None,
    seed: int = 0,
    batch: int = 8,
    format: ImageFormat = "png",  # noqa: A002 - named like the command's option
    keep: str | Path | None = None,
    change: str | Path | None = None,
    mask_run: str | Path | None = None,
    proportions: str | Mapping[str, float] | None = None,
    size: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> SampleResult:
    """Make images for masks with a trained network.

    Masks larger than the images that it was trained on are sampled in windows of that size, on a grid that moves
    in each step, and decoded in overlapping tiles; time and memory grow with their area.

    All masks are checked before sampling starts. An image depends on its mask and its own seed, a function of
    `seed`, the mask's name and the image's number. Repeating the call makes only the missing images. Defaults of a
    run that was tuned are those that `tune` found; see `training.inference.tuned_sampling`.

    Args:
        run: a run's folder, one of its checkpoints, or its name among the workspace's runs.
        masks: a mask, or a folder of masks at any depth, which hold classes; see `mask_inputs.find_masks`. With
            `generated`, masks are made first, with a run of masks.
        workspace: folder of `runs`, and of `samples` if `out` is None.
        out: folder for images and masks; by default a folder in `samples` per run, checkpoint and way of sampling.
        map: label map to apply to the masks first, if they hold source labels.
        count: number of images per mask; for generated masks, the number of masks, with one image each.
        steps: sampling steps; by default 25 with dpm and unipc, and as configured with ddim.
        guidance: null + guidance (conditional - null); by default as configured.
        sampler: `dpm`, DPM-Solver++(2M), `ddim`, or `unipc`; by default dpm, or ddim with `reference`.
        eta: noise that DDIM adds, 0 to 1; by default 0, or 1 with `reference`.
        reference: sample like the reference, with one guided pass per class of a mask, and
            large images in random patches.
        guidance_interval: shares of noise, noise / (noise + signal), between which to guide; outside, only the
            conditional prediction is computed. By default all.
        guidance_rescale: share of the predictions' deviation to give back after guidance, 0 to 1.
        guide: a worse run, or an earlier checkpoint, to guide away from, instead of from the null prediction.
        levels: how the noise levels of steps are spaced: evenly (`time`, the default), or evenly in log SNR
            (`log-snr`).
        weights: `ema` (averaged) or `model` (as the optimizer left them); those of the guide are of the same kind.
        ema_length: average of this length (sigma_rel, a share of the run) instead, if the run has snapshots.
        seed: the seed of all images.
        batch: number of images, or of windows of larger ones, to make at once; results are the same, except for
            rounding.
        format: `png`, or `tiff` for tiled, pyramidal OME-TIFF, which keeps less of a large image in memory.
        keep: folder of images with the names of the masks, which are kept where they are not to change; or the
            image of a single mask.
        change: folder of masks with these names, or one mask: 0 keeps a pixel of `keep`, other values change it.
        mask_run: for generated masks, the run of masks to make them with, named like `run`; by default `masks`.
        proportions: for generated masks, shares of their pixels by class, `NAME=SHARE,...` or a mapping; classes
            that are not named are free, and take what is left.
        size: for generated masks, `SIDE` or `WIDTHxHEIGHT` in pixels; by default that of the training images.
        device: `cpu` or `cuda`; by default all GPUs of this machine, or those that `torchrun` uses.
        progress: called with a stage, the number of steps done, and the total.

    Raises:
        HistodsError: a mask cannot be used, there is no such run, or the folder holds something else.
    """
    _expect(count >= 1, "--count", "at least 1", count)
    _expect(batch >= 1, "--batch", "at least 1", batch)
    _expect(0 <= seed < 1 << 63, "--seed", "from 0 to 2**63 - 1", seed)
    if format not in get_args(ImageFormat):
        raise HistodsError(f"--format is {format}; it must be {' or '.join(get_args(ImageFormat))}.")
    space = Workspace.find(workspace)
    read = read_run(run, space.runs)
    read.expect("images", "--run")
    if ema_length is not None and weights != "ema":
        raise HistodsError("--ema-length makes an average, and --weights model asks for none; leave one out.")
    if (keep is None) != (change is None):
        raise HistodsError("--keep and --change belong together: images, and where they are to change; give both.")
    generated = _order_masks(space, read, masks, map, keep, mask_run, proportions, size, count, seed)
    given: dict[str, Any] = {
        "sampler": sampler,
        "steps": steps,
        "guidance": guidance,
        "eta": eta,
        "reference": reference or None,
        "guidance_interval": guidance_interval,
        "guidance_rescale": guidance_rescale or None,
        "levels": levels,
    }
    others = {"guide": guide, "ema_length": ema_length, "weights": None if weights == "ema" else weights}
    tuned = _tuned(read, {**given, **others})
    names = tuple(tuned)
    ema_length = tuned.pop("ema_length", ema_length)
    average = None if ema_length is None else plan_average(read.checkpoint, read.step, ema_length)
    order = Order(
        space=space,
        run=read,
        masks=Path(masks),
        generated=generated,
        out=out,
        map=map,
        count=count if generated is None else 1,
        sampling=Sampling.of(
            read.config.diffusion,
            **{name: value for name, value in {**given, **tuned}.items() if value is not None},
            guided_by_run=guide is not None,
        ),
        tuned=names,
        guide=None if guide is None else read_guide(guide, space.runs, read),
        weights=weights,
        ema_length=ema_length,
        average=average,
        seed=seed,
        batch=batch,
        format=format,
        keep=None if keep is None else Path(keep),
        change=None if change is None else Path(change),
        device=device,
    )
    gpus = gpus_to_share(device)
    if gpus > 1:
        return in_processes(_sample, gpus, {"order": order}, progress)
    return _sample(order, progress)


def _sample(order: Order, progress: Progress | None) -> SampleResult:
    """Make images in this process; several processes divide the images among them."""
    run = order.run
    with processes(order.device, patience=_PATIENCE) as process, ExitStack() as held:
        half = process.device.type == "cuda" and run.config.run.precision == "bf16"
        with process.together():
            autoencoder = run.load_autoencoder(process.device)
            reader = _reader(order, autoencoder)
            if order.generated is not None:
                reader.check_sides("--size", order.generated.height, order.generated.width, "choose another size")
        made = None if order.generated is None else make_masks(order.generated, process, progress or silent)
        with process.together():
            named, passed_over = find_masks(order.masks) if made is None else (made, 0)
            checked = check_masks(named, reader, progress if process.first else None)
            kept = None
            if order.keep is not None and order.change is not None:
                kept = KeptImages(order.keep, order.change, checked, reduce=run.config.data.reduce)
            recipe = recipe_of(order, autoencoder, checked, half=half, kept=None if kept is None else kept.digest)
            folder = _choose_folder(order.space, run, recipe, order.out)
            masks = order.masks if order.generated is None else order.generated.folder.folder
            for source in filter(None, (masks, order.keep, order.change)):
                _check_place(order.space, folder, source)
            items = plan_items(checked, order.count, order.seed, order.format)
            store = SampleFolder(folder, recipe)
            if process.first:
                held.enter_context(only_one(folder, "makes images"))
                store.claim()
                missing = [item.name for item in _missing(items, store, reader)]
        missing, own_recipe = process.tell((missing, recipe) if process.first else None)
        with process.together():
            if recipe != own_recipe:
                raise HistodsError(
                    f"{run.checkpoint} is not what process 0 samples from: put the workspace where all machines "
                    "see it, and name the checkpoint if the run is still training."
                )
            everything = _batches(items, missing, order.batch, run.config.model.image_size)
            batches = everything[process.rank :: process.world_size]
            if batches:
                painter = _painter(run, autoencoder, order, process.device, half=half)
                _make(batches, missing, painter, store, reader, kept, progress or silent, len(everything))
        with process.together():
            if process.first:
                if process.world_size > 1:  # read the images of other processes from their files
                    store.forget(item for item in items if item.name in missing)
                records = store.finish(items)
                write_bytes(store.contact_sheet, draw_sheet(order.title, folder, records, run.classes))
                with suppress(OSError):  # a workspace of others, which cannot be written, has no say in this
                    note_place(order.space, run.folder, folder)
        where = describe(process.device)
        return SampleResult(
            folder=folder,
            contact_sheet=store.contact_sheet,
            record=store.record,
            run=run.folder,
            step=run.step,
            weights=order.weights,
            sampling=order.sampling,
            seed=order.seed,
            device=where if process.world_size == 1 else f"{where}, {process.world_size} processes",
            masks=len(checked),
            written=len(missing),
            present=len(items) - len(missing),
            passed_over=passed_over,
            tuned=order.tuned,
            warnings=(
                *warn_of_average(order),
                *_warn_of_sizes(sizes_of(checked), run.config.model.image_size, run.config.data.reduce),
            ),
        )


def _tuned(run: Run, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `tune` found for a run, without those that given options replace."""
    found = TunedSampling.read(run.folder, run.config.diffusion)
    if found is None:
        return {}
    return found.defaults(without=[name for name, value in given.items() if value is not None])


def _order_masks(
    space: Workspace,
    run: Run,
    masks: str | Path,
    label_map: str | Path | None,
    keep: str | Path | None,
    mask_run: str | Path | None,
    proportions: str | Mapping[str, float] | None,
    size: str | None,
    count: int,
    seed: int,
) -> MaskOrder | None:
    """The masks to make first; None if masks are given.

    Raises:
        HistodsError: options do not fit together, or the order cannot be carried out.
    """
    if masks != GENERATED:
        given = {"--mask-run": mask_run, "--proportions": proportions, "--size": size}
        if extra := [name for name, value in given.items() if value is not None]:
            raise HistodsError(f"{' and '.join(extra)} need --masks {GENERATED}: omit them, or give that.")
        return None
    if Path(GENERATED).exists():
        raise HistodsError(
            f"--masks {GENERATED} makes masks, but there is also {Path(GENERATED).absolute()}: give that path to "
            "use it, or run the command in another folder."
        )
    if keep is not None:
        raise HistodsError(
            f"--keep keeps pixels of images, and --masks {GENERATED} makes masks that say nothing of them: give a "
            "folder with masks of those images."
        )
    if label_map is not None:
        raise HistodsError("--map turns labels into classes, which generated masks already hold: omit it.")
    return order_masks(space, run, mask_run=mask_run, proportions=proportions, size=size, count=count, seed=seed)


def _expect(fits: bool, name: str, condition: str, found: object) -> None:
    if not fits:
        raise HistodsError(f"{name} is {found}; it must be {condition}: give another number.")


def _reader(order: Order, autoencoder: Autoencoder) -> MaskReader:
    """A reader of masks for the networks."""
    run = order.run
    classes = run.config.model.num_classes
    assert classes is not None  # noqa: S101 - a run's configuration is resolved
    networks = [run.config.model] if order.guide is None else [run.config.model, order.guide.config.model]
    return MaskReader(
        classes,
        autoencoder.factor * math.lcm(*(network.size_multiple for network in networks)),
        None if order.map is None else choose_map(order.map, run.classes, run.state.map_digest, order.space),
        reduce=run.config.data.reduce,
        window=run.config.model.image_size,
        factor=autoencoder.factor,
    )


def _choose_folder(space: Workspace, run: Run, recipe: dict[str, Any], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    return space.folder / "samples" / f"{run.folder.name}-{run.checkpoint.name}-{digest_of(recipe)[:8]}"


def _check_place(space: Workspace, folder: Path, masks: Path) -> None:
    """Refuse to write to the folder of the masks, or of what is kept, or of the dataset."""
    refuse_file(folder, "--out")
    source = (masks if masks.is_dir() else masks.parent).resolve()
    target = folder.resolve()
    if target == source or (masks.is_dir() and (target.is_relative_to(source) or source.is_relative_to(target))):
        raise HistodsError(
            f"{folder} overlaps the folder of the masks, or of what is kept; choose another folder with --out."
        )
    if space.audit.is_file():
        space.check_place(folder, "--out", Path(str(read_json(space.audit).get("root"))))


def _missing(items: Sequence[Item], store: SampleFolder, reader: MaskReader) -> list[Item]:
    """The images that do not exist yet."""
    missing = []
    for mask, group in groupby(items, key=lambda item: item.mask):
        classes = reader.read_again(mask)
        missing += [item for item in group if not store.holds(item, classes)]
    return missing


def _painter(
    run: Run, autoencoder: Autoencoder, order: Order, device: torch.device, *, half: bool
) -> SamplingPipeline:
    guide = None
    if order.guide is not None:
        guide = load_network(order.guide, order.weights, device), order.guide.config.diffusion.prediction
    return SamplingPipeline(
        model=load_network(run, order.weights, device, order.ema_length),
        autoencoder=autoencoder,
        schedule=run.schedule.to(device),
        space=run.space,
        prediction=run.config.diffusion.prediction,
        sampling=order.sampling,
        device=device,
        guide=guide,
        half=half,
        window=run.config.model.image_size // autoencoder.factor,
        batch=order.batch,
    )


def load_network(run: Run, weights: Weights, device: torch.device, ema_length: float | None = None) -> UNet:
    """The network, in the layout that suits the device."""
    model = load_model(run, weights=weights, ema_length=ema_length, device=device)
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _batches(items: Sequence[Item], missing: Collection[str], size: int, trained: int) -> list[list[Item]]:
    """Batches of masks of one size, with at least one image missing; larger images than trained on one by one.

    Batches are formed from all images, not only the missing ones: a call that resumes after a kill makes the same
    batches and so the same bytes, although rounding depends on the contents of a batch.
    """
    wanted = set(missing)

    def shape(item: Item) -> tuple[int, int]:
        return item.mask.height, item.mask.width

    batches = []
    for _, group in groupby(sorted(items, key=shape), key=shape):
        alike = list(group)
        step = size if max(shape(alike[0])) <= trained else 1
        batches += [alike[first : first + step] for first in range(0, len(alike), step)]
    return [batch for batch in batches if any(item.name in wanted for item in batch)]


def _make(
    batches: Sequence[Sequence[Item]],
    missing: Collection[str],
    painter: SamplingPipeline,
    store: SampleFolder,
    reader: MaskReader,
    kept: KeptImages | None,
    report: Progress,
    total: int,
) -> None:
    """Make the missing images, batch by batch; all processes together make `total` batches."""
    wanted = set(missing)
    for place, batch in enumerate(batches):

        def tell(step: int, steps: int, before: int = place) -> None:
            report("sampling, in steps", before * steps + step, total * steps)

        tell(0, painter.sampling.steps)
        classes = [reader.read_again(item.mask) for item in batch]
        masks_B1HW, seeds = torch.from_numpy(np.stack(classes)[:, None]), [item.seed for item in batch]
        strips: Iterable[NDArray[np.uint8]] = painter.strips(
            masks_B1HW, seeds, tell, None if kept is None else kept.read([item.mask.name for item in batch])
        )
        if len(batch) > 1:  # small images, whole
            strips = [np.concatenate(list(strips), axis=1)]
        for number, (item, mask) in enumerate(zip(batch, classes, strict=True)):
            if item.name in wanted:
                store.write_pair(item, (strip[number] for strip in strips), mask)


def _warn_of_sizes(sizes: dict[tuple[int, int], int], trained: int, reduce: int) -> tuple[str, ...]:
    """One line for each mask size, before reduction, with a side below that which the network was trained on."""
    return tuple(
        f"masks of {width * reduce}x{height * reduce} px ({number:,}): the network was trained on "
        f"{trained * reduce}x{trained * reduce}, "
        "so tissue may look too large or too small"
        for (height, width), number in sorted(sizes.items())
        if min(height, width) < trained
    )
