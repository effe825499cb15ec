"""train: from shards or latents to a run with checkpoints, metrics and pictures, on whatever device there is."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from histods.errors import HistodsError
from histods.labels import IDENTITY
from histods.printing import printed
from histods.records import silent
from histods.storage.atomic import only_one
from histods.storage.workspace import Workspace
from training.checkpoint import newest, read_tensors, write_run
from training.config import TrainConfig, read_config, with_classes
from training.device import can_compile, describe, processes
from training.image_size import reduction
from training.latent_space import LatentSpace
from training.loop import Trainer
from training.metrics import Metrics, read_metrics
from training.plan import Plan, plan_run
from training.preview import Preview, can_draw
from training.source import Encoder, Source, find_data, holds_data
from training.standing import find_state, owed_at, settings_of
from training.statistics import autoencoder_of, space_of
from training.unet import UNet, shapes
from training.validation import Validation, describe_validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from histods.records import Progress
    from training.checkpoint import State
    from training.device import Process


_MOST_NAMED = 5
_SIDE_ON_CPU = 128
"""Pixels to which images are reduced where a CPU trains and nobody says otherwise: minutes instead of hours."""


@printed(hide=("config", "latent_space", "plan"))
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a run is, or would be.

    Attributes:
        folder: of the run.
        data: the shards or latents that it is trained on; None for a dry run without.
        splits: which of their splits.
        samples: how many samples of these are trained on.
        map: name of the label map behind the classes; None for a dry run without data.
        validation_split: the split that is validated on; None where there is none.
        held_out: samples of `splits` that are validated on instead, and not trained on.
        device: in words.
        processes: how many train together.
        config: all settings, resolved.
        plan: what it costs; None but for a dry run.
        shapes: name and shape of what flows through the network; empty unless asked for.
        step: optimizer steps done.
        began: step at which this call went on; 0 for a new run.
        finished: whether the last step is done.
        skipped: steps that were skipped because something was not finite.
        losses: validation losses of the averaged weights, (step, loss); None where that was not finite.
        latent_space: what the network sees of latents.
    """

    folder: Path
    data: Path | None
    splits: tuple[str, ...]
    samples: int
    validation_split: str | None
    held_out: int
    device: str
    processes: int
    config: TrainConfig
    latent_space: dict[str, Any]
    map: str | None = None
    plan: Plan | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    step: int = 0
    began: int = 0
    finished: bool = False
    skipped: int = 0
    losses: tuple[tuple[int, float | None], ...] = ()


def train(
    *,
    workspace: str | Path | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    name: str = "default",
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    data: str | Path | None = None,
    prepare: bool = True,
    resume: bool = False,
    device: str | None = None,
    dry_run: bool = False,
    debug: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train the conditional latent diffusion model, or go on with a run that was interrupted.

    What the workspace lacks for it is made first: the split, shards, and latents where they pay. What is out of
    date is made again. The same call again goes on where a run was killed, to the same bits. Under `torchrun` all
    its processes train together, each with its share of every batch; nothing is prepared then.

    Args:
        workspace: folder of shards or latents, and of `runs`.
        config: YAML file with the sections of `training.config.TrainConfig`; a file of the reference is one.
        settings: `section.key=value` on top of it.
        name: of the run.
        map: label map; the workspace's only one by default, and `labels` keeps the labels.
        data: folder of shards or latents, which are taken as they are; the workspace's by default.
        prepare: make what is missing or out of date; else refuse with the command that makes it.
        resume: go on also where settings differ, for example with more steps; without `config`, with those of the
            run below `settings`.
        device: `cpu`, `cuda`; a GPU if there is one by default.
        dry_run: train nothing; say what would be done and what it would cost.
        debug: also give the shapes of what flows through the network.
        progress: called with each step.
        say: called with what was chosen, in words, before the first step.

    Raises:
        HistodsError: the input is wrong, data or a checkpoint are damaged, a disk is full, or training diverged.
        TerminatedError: SIGTERM came; a checkpoint was written. So with KeyboardInterrupt and Ctrl-C.
    """
    report = progress or silent
    space = Workspace.find(workspace)
    folder = space.runs / _parse_name(name)
    with processes(device) as process:
        # Without settings of its own, a call goes on with those of the run.
        begun = config is None and (resume or not settings) and (folder / "config.yaml").is_file()
        defaults = settings_of(folder, process) if begun else defaults_for(process, complete=config is None)
        asked = read_config(config, settings, defaults=defaults)
        if dry_run and data is None and not holds_data(space):
            whole = _without_data(space, map, asked, process, reduces=config is None)
            if whole is not None:
                defaults["model"] = {**defaults.get("model", {}), **whole}
                asked = read_config(config, settings, defaults=defaults)
                return _dry_run(folder, asked, None, process, debug=debug)
        make = prepare and process.ranks == 1 and not dry_run
        tell = say if say is not None and process.first else _ignore
        where = _find(
            space, data, map, lambda: _prepare_data(space, folder, map, make, tell, report, asked, process)
        )
        source = Source(where, asked.data, validates=asked.run.validate_every > 0)
        if config is None and not begun and process.device.type == "cpu":
            defaults["data"] = {"reduce": source.reduction(asked.model, _SIDE_ON_CPU) * source.reduce}
            asked = read_config(config, settings, defaults=defaults)
            if asked.data.reduce != source.reduce:
                source = Source(source.folder, asked.data, validates=asked.run.validate_every > 0)
        source.check_fits(asked.model)
        # The size of the images at hand, unless another one is named: that counts in a dry run alone.
        defaults.setdefault("model", {})["image_size"] = source.image_size
        asked = with_classes(read_config(config, settings, defaults=defaults), source.classes, str(source.folder))
        if dry_run:
            source.batches(asked.run.seed, asked.diffusion.batch_size, process)  # every class must have samples
            return _dry_run(folder, asked, source, process, debug=debug)
        resolved = replace(asked, model=replace(asked.model, image_size=source.image_size))
        with only_one(folder, "trains") if process.first else nullcontext():
            state = find_state(folder, resolved, process, resume=resume)
            if say is not None and process.first:
                for line in _in_words(resolved, source, process, state, asked.model.image_size):
                    say(line)
            trainer = _prepare(folder, resolved, source, process, state, report)
            if process.first:  # only now: of a call that fails nothing stays
                write_run(folder, resolved)
            began = trainer.step
            if trainer.step < resolved.run.steps or owed_at(folder, resolved.run, trainer.step, last=True):
                _run(trainer, report)
        return TrainResult(
            folder=folder,
            data=source.folder,
            splits=source.splits,
            samples=len(source.samples),
            validation_split=source.validation_split,
            held_out=int(source.held_out.sum()),
            device=describe(process.device),
            processes=process.ranks,
            config=resolved,
            latent_space=trainer.space.to_json(),
            map=source.map,
            shapes=_shapes(resolved) if debug else (),
            step=trainer.step,
            began=began,
            finished=trainer.step >= resolved.run.steps,
            skipped=trainer.skipped,
            losses=tuple(
                (line["step"], line["ema"]) for line in read_metrics(folder) if line["kind"] == "validation"
            ),
        )


def _find(
    space: Workspace, data: str | Path | None, label_map: str | Path | None, prepare: Callable[[], None]
) -> Path:
    """The folder to train from: the one that is named, as it is; else the workspace's, once it is prepared."""
    if data is None:
        prepare()
    elif label_map is not None:
        raise HistodsError("--map chooses the classes of the workspace's shards: leave it out with --data.")
    return find_data(space, data)


def _prepare_data(
    space: Workspace,
    folder: Path,
    label_map: str | Path | None,
    make: bool,
    say: Callable[[str], None],
    report: Progress,
    asked: TrainConfig,
    process: Process,
) -> None:
    """Make what training needs, where there is an audit to make it from; see `training.prepare`."""
    if not space.audit.is_file():
        return
    try:
        from training.prepare import Preparation, prepare
    except ModuleNotFoundError as error:  # GPU machines often carry little but PyTorch
        say(f"What {space.folder} holds is used as it is, unchecked: {error.name} is not installed.")
        return
    prepare(
        Preparation(space=space, run=folder, map=label_map, make=make, say=say, progress=report), asked, process
    )


def _without_data(
    space: Workspace, label_map: str | Path | None, asked: TrainConfig, process: Process, *, reduces: bool
) -> dict[str, Any] | None:
    """What a dry run takes for the network before there are shards; None where nothing tells.

    Args:
        space: the workspace, whose audit tells if it has one.
        label_map: the label map that is named.
        asked: the settings; with the number of classes they tell enough.
        process: a CPU would reduce the images.
        reduces: whether that is left to it.
    """
    if asked.model.num_classes is not None:
        return {}
    if not space.audit.is_file():
        return None
    from training.prepare import foresee

    classes, side = foresee(space, label_map, asked)
    if reduces and process.device.type == "cpu":
        side //= reduction((side, side), asked.model, _SIDE_ON_CPU)
    return {"num_classes": len(classes), "image_size": side}


def _ignore(text: str) -> None:
    """Say nothing."""


def _dry_run(
    folder: Path, config: TrainConfig, source: Source | None, process: Process, *, debug: bool
) -> TrainResult:
    """What would be done and what it would cost; without data where the configuration says enough."""
    return TrainResult(
        folder=folder,
        data=None if source is None else source.folder,
        splits=() if source is None else source.splits,
        samples=0 if source is None else len(source.samples),
        validation_split=None if source is None else source.validation_split,
        held_out=0 if source is None else int(source.held_out.sum()),
        device=describe(process.device),
        processes=process.ranks,
        config=config,
        latent_space={},
        plan=plan_run(config, process),
        shapes=_shapes(config) if debug else (),
    )


def defaults_for(process: Process, *, complete: bool) -> dict[str, dict[str, Any]]:
    """Settings that suit the device, below all others.

    Args:
        process: with the device.
        complete: also choose the network's size, the batch and the steps; else only how it is computed.
    """
    gpu = process.device.type == "cuda"
    half = gpu and torch.cuda.is_bf16_supported()
    chosen: dict[str, dict[str, Any]] = {
        "run": {
            "precision": "bf16" if half else "fp32",
            "compile": can_compile(process.device),
            "channels_last": gpu,
        }
    }
    if complete:
        size = (
            ({"dim": 256}, {"batch_size": 64 * process.ranks, "lr": 1e-4}, {"steps": 50_000})
            if gpu
            else (
                {"dim": 32},
                {"batch_size": 8 * process.ranks, "lr": 1e-3, "sampling_timesteps": 50},
                {"steps": 500, "checkpoint_every": 100, "validate_every": 100, "preview_every": 250},
            )
        )
        chosen["model"] = {**size[0], "spatial": True}
        chosen["diffusion"] = size[1]
        chosen["run"] |= size[2]
    return chosen


def _in_words(
    config: TrainConfig, source: Source, process: Process, state: State | None, size: int
) -> Iterator[str]:
    """What will be done, and what to know of it, a line each."""
    model, run = config.model, config.run
    what = "latents" if source.encoded else "images"
    where = describe(process.device) + (f", {process.ranks} processes" if process.ranks > 1 else "")
    begin = f"going on at step {state.step:,}" if state else "from the beginning"
    other = "" if size == model.image_size else f" (the images', not model.image_size={size})"
    yield (
        f"Training on {len(source.samples):,} {what} of {'/'.join(source.splits)} in {source.folder}, on {where}, "
        f"{begin}: {model.image_size} px{other}, dim {model.dim}, {model.num_classes} classes"
        f"{', spatial' if model.spatial else ''}, {run.steps:,} steps of {config.diffusion.batch_size}, "
        f"{run.precision}{', compiled' if run.compile else ''}. Other settings: --set section.key=value, "
        "--dry-run shows all."
    )
    if run.validate_every:
        yield describe_validation(source)
    yield from _say_absent(source)
    yield from _say_reduced(config, source)
    if run.preview_every and not can_draw():
        yield "No previews are drawn, since Pillow is not installed."


def _say_absent(source: Source) -> Iterator[str]:
    """Which classes are never drawn, since no sample has them; nothing where there are none."""
    names = source.without_samples
    if source.map == IDENTITY:
        if len(names) > _MOST_NAMED:  # fewer are numbers between labels
            yield (
                f"{len(names)} of {len(source.classes)} classes have no sample, since labels are the classes: a "
                "label map makes fewer ('histods remap --draft my_map.yml')."
            )
    elif names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        yield f"No sample has {', '.join(names[:_MOST_NAMED])}{more}: probability 0."


def _say_reduced(config: TrainConfig, source: Source) -> Iterator[str]:
    """How to train on whole images, where they are reduced for a first look."""
    if source.reduce > 1:
        yield (
            f"Images are reduced from {config.model.image_size * source.reduce} px by "
            f"data.reduce={source.reduce}, for a first look in minutes; in earnest, on a GPU: "
            "--set data.reduce=1 --set model.dim=256 --set run.steps=50000."
        )


def _parse_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise HistodsError(f"Expected a plain name of a run for --name, found {name!r}; for example first-try.")
    return name


def _prepare(
    folder: Path,
    config: TrainConfig,
    source: Source,
    process: Process,
    state: State | None,
    report: Progress,
) -> Trainer:
    """The trainer, where the run stands."""
    described, autoencoder = autoencoder_of(config, source, folder, process, state, report)
    if state is None:
        space = space_of(config, source, autoencoder, process, report)
    else:
        space = LatentSpace.from_json(state.latent_space)
    torch.manual_seed(config.run.seed)
    model = UNet(config.model).to(process.device)
    trainer = Trainer(
        config=config,
        process=process,
        source=source,
        encoder=Encoder(autoencoder, space.image_low, process.device),
        space=space,
        model=model,
        autoencoder=described,
        folder=folder,
    )
    if state is not None:
        checkpoint = newest(folder)
        assert checkpoint is not None  # noqa: S101 - the state was read from it
        trainer.restore(state, lambda part: read_tensors(checkpoint, part))
    return trainer


def _run(trainer: Trainer, report: Progress) -> None:
    """Train to the last step; process 0 also writes metrics, validates and draws previews."""
    if not trainer.process.first:
        trainer.run(None, None, None, report)
        return
    report("preparing validation", 0, 0)
    run = trainer.config.run
    validation = Validation(trainer)
    draws = run.preview_every and trainer.encoder.autoencoder and can_draw()
    preview = Preview(trainer, validation.masks_BCHW) if draws else None
    with Metrics(trainer.folder, trainer.step) as metrics:
        trainer.run(metrics, validation if run.validate_every else None, preview, report)


def _shapes(config: TrainConfig) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What flows through the network for 4 images, counted without computing it."""
    batch, size = 4, config.model.image_size
    with torch.device("meta"):
        model = UNet(config.model)
        x = torch.empty(batch, config.model.channels, size // 8, size // 8)
        times = torch.empty(batch, dtype=torch.int64)
        masks = torch.empty(batch, 1, size, size, dtype=torch.uint8)
    return tuple((name, tuple(shape)) for name, shape in shapes(model, x, times, masks))
