"""train: turn shards or latents into a run with checkpoints, metrics and previews, on any device."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from histods.errors import HistodsError
from histods.io.atomic import only_one
from histods.io.workspace import Workspace
from histods.labels.label_map import IDENTITY
from histods.printing import printed
from histods.records import silent
from training.config.sections import flatten
from training.data.masks import MaskEncoder
from training.data.source import Encoder, Source
from training.distributed import can_compile, describe, processes
from training.latents.fit import fit_latent_space, resolve_autoencoder
from training.latents.latent_space import LatentSpace
from training.model.cost import TrainingCost, estimate_cost
from training.model.unet import UNet, shapes
from training.runs.checkpoint import newest, read_tensors, write_run
from training.runs.metrics import Metrics, read_metrics
from training.trainer.due import due_evaluations
from training.trainer.loop import Trainer
from training.trainer.preview import Preview, can_draw
from training.trainer.resume import check_alike, load_resume_state, say_leap
from training.trainer.setup import RunSetup
from training.trainer.shutdown import is_short_of_memory
from training.trainer.validation import Validation, describe_validation
from training.verbs.train_settings import Call, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from histods.records import Progress
    from training.config.sections import RunConfig, TrainConfig, What
    from training.distributed import Process
    from training.exchange.initial_weights import Initial
    from training.runs.checkpoint import State, Weights


_MAX_NAMED = 5


@printed(hide=("config", "latent_space", "plan"))
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """The result of a run, or the plan of a dry run.

    Attributes:
        folder: the folder of the run.
        data: the training shards or latents; None for a dry run without data.
        splits: the training splits.
        samples: the number of training samples.
        map: name of the label map of the classes; None for a dry run without data.
        validation_split: the split to validate on, or None.
        held_out: number of samples of `splits` that are used for validation instead of training.
        device: description of the device.
        processes: number of processes.
        config: all settings, resolved.
        plan: the cost; None unless it is a dry run.
        shapes: names and shapes of the tensors in the network; empty unless requested.
        step: optimizer steps done.
        began: step at which this call started; 0 for a new run.
        finished: whether the last step is done.
        skipped: number of steps skipped because the loss or gradient was not finite.
        losses: validation losses of the averaged weights, (step, loss); None if not finite.
        latent_space: the latent space.
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
    plan: TrainingCost | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    step: int = 0
    began: int = 0
    finished: bool = False
    skipped: int = 0
    losses: tuple[tuple[int, float | None], ...] = ()


def train(
    *,
    workspace: str | Path | None = None,
    what: What | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    name: str | None = None,
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    data: str | Path | None = None,
    prepare: bool = True,
    resume: bool = False,
    init: str | Path | None = None,
    init_weights: Weights = "ema",
    remake_ends: bool = False,
    device: str | None = None,
    dry_run: bool = False,
    debug: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train the conditional latent diffusion model, or one that makes masks, or resume an interrupted run.

    What the workspace lacks is made first: the split, shards, and latents if they pay off. What is out of date is
    made again. After a kill, the same call resumes bit-exactly. Under `torchrun` all processes train together,
    each with its share of every batch, and nothing is prepared.

    Args:
        workspace: folder of shards or latents, and of `runs`.
        what: `images`, given their masks; or `masks`, given the proportions of classes. By default what the run
            began with, else images.
        config: YAML file with the sections of `training.config.load.TrainConfig`, or a file of the reference.
        settings: `section.key=value`, which override the file.
        name: the name of the run; by default `masks` for a run of masks, else `default`.
        map: label map; by default the workspace's only one; `labels` keeps the labels.
        data: folder of shards or latents to use unchanged; by default those of the workspace.
        prepare: make what is missing or out of date; else fail and name the command that makes it.
        resume: resume even if settings differ, for example with more steps; without `config`, `settings` override
            those of the run.
        init: weights that a new run starts from: a run's folder, one of its checkpoints, its name among the
            workspace's runs, or a folder of `histods export`. Optimizer, average and data start from scratch.
        init_weights: which weights of a run to use: `ema` (averaged) or `model` (as the optimizer left them).
        remake_ends: re-initialise the first and last layers, for latents of another kind.
        device: `cpu` or `cuda`; by default a GPU if there is one.
        dry_run: train nothing; report what would be done and what it would cost.
        debug: also return the shapes of the tensors in the network.
        progress: called with each step.
        say: called with messages on what was chosen, before the first step.

    Raises:
        HistodsError: the input is wrong, data or a checkpoint is damaged, a disk is full, or training diverged.
        TerminatedError: SIGTERM was received, and a checkpoint written; Ctrl-C raises KeyboardInterrupt likewise.
    """
    report = progress or silent
    space = Workspace.find(workspace)
    folder = space.runs / _parse_name("masks" if name is None and what == "masks" else name or "default")
    with processes(device) as process:
        call = Call(
            space=space,
            folder=folder,
            what=what,
            config=config,
            settings=settings,
            map=map,
            data=data,
            prepare=prepare,
            resume=resume,
            init=init,
            init_weights=init_weights,
            remake_ends=remake_ends,
            dry_run=dry_run,
            say=say if say is not None and process.first else _ignore,
            progress=report,
        )
        with process.together():
            settled = settle(call, process)
        asked, source = settled.config, settled.source
        if dry_run or source is None:
            return _dry_run(folder, asked, source, process, debug=debug)
        resolved = replace(asked, model=replace(asked.model, image_size=source.image_size))
        with ExitStack() as held:
            with process.together():
                if process.first:
                    held.enter_context(only_one(folder, "trains"))
                state = load_resume_state(folder, resolved, resume=resume)
                start = settled.initial if state is None else None
                if start is not None:
                    start.check(resolved)
            check_alike(folder, state, process)
            for line in _in_words(folder, resolved, source, process, state, asked.model.image_size):
                call.say(line)
            trainer = _prepare(folder, resolved, source, process, state, start, call)
            if process.first:  # only now, so that a failed call leaves nothing behind
                write_run(folder, resolved)
            began = trainer.step
            due = process.tell(due_evaluations(folder, resolved.run, began, last=True) if process.first else None)
            if began < resolved.run.steps or due:
                _run(trainer, call)
        return TrainResult(
            folder=folder,
            data=source.folder,
            splits=source.splits,
            samples=len(source.samples),
            validation_split=source.validation_split,
            held_out=int(source.held_out.sum()),
            device=describe(process.device),
            processes=process.world_size,
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


def _ignore(text: str) -> None:
    """Say nothing."""


def _dry_run(
    folder: Path, config: TrainConfig, source: Source | None, process: Process, *, debug: bool
) -> TrainResult:
    """What would be done and what it would cost; works without data if the configuration is complete."""
    return TrainResult(
        folder=folder,
        data=None if source is None else source.folder,
        splits=() if source is None else source.splits,
        samples=0 if source is None else len(source.samples),
        validation_split=None if source is None else source.validation_split,
        held_out=0 if source is None else int(source.held_out.sum()),
        device=describe(process.device),
        processes=process.world_size,
        config=config,
        latent_space={},
        plan=estimate_cost(config, process),
        shapes=_shapes(config) if debug else (),
    )


def _in_words(
    folder: Path, config: TrainConfig, source: Source, process: Process, state: State | None, size: int
) -> Iterator[str]:
    """Describe what will be done and any caveats, one line each."""
    model, run = config.model, config.run
    what = config.data.what if not source.encoded else "latents"
    where = describe(process.device) + (f", {process.world_size} processes" if process.world_size > 1 else "")
    begin = f"resuming at step {state.step:,}" if state else "from the beginning"
    other = "" if size == model.image_size else f" (the {config.data.what}', not model.image_size={size})"
    yield (
        f"Training on {len(source.samples):,} {what} of {'/'.join(source.splits)} in {source.folder}, on {where}, "
        f"{begin}: {model.image_size} px{other}, dim {model.dim}, {model.num_classes} classes"
        f"{', spatial' if model.spatial else ''}, {run.steps:,} steps of {config.data.batch_size}, "
        f"{run.precision}{', compiled' if run.compile else ''}. Other settings: --set section.key=value, "
        "--dry-run shows all."
    )
    if run.validate_every:
        yield describe_validation(source)
    if state is not None:
        yield from say_leap(folder, config)
    yield from _say_absent(source)
    yield from _say_reduced(config, source)
    yield from _say_eager(run, process)
    if run.preview_every and not can_draw():
        yield "No previews are drawn, since Pillow is not installed."


def _say_eager(run: RunConfig, process: Process) -> Iterator[str]:
    """Report if a GPU is not fully used, and why."""
    if process.device.type == "cuda" and not run.compile:
        able = can_compile(process.device)
        why = "run.compile is false" if able else "there is no C compiler (install gcc or clang)"
        yield f"NOT COMPILED, because {why}: each step takes about 1.5 times as long as it could."


def _say_absent(source: Source) -> Iterator[str]:
    """Report the classes that are never drawn because no sample has them, if any."""
    names = source.without_samples
    if source.map == IDENTITY:
        if len(names) > _MAX_NAMED:  # fewer may be unused numbers between labels
            yield (
                f"{len(names)} of {len(source.classes)} classes have no sample, since labels are the classes: a "
                "label map makes fewer ('histods remap --draft my_map.yml')."
            )
    elif names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        yield f"No sample has {', '.join(names[:_MAX_NAMED])}{more}: probability 0."


def _say_reduced(config: TrainConfig, source: Source) -> Iterator[str]:
    """Report how to train on full-size images, if they are reduced for a first look."""
    if config.data.what == "masks":
        if source.reduce > 1:
            side = config.model.image_size * source.reduce
            yield f"Masks are reduced from {side} px by majority (data.reduce={source.reduce})."
    elif source.reduce > 1:
        yield (
            f"Images are reduced from {config.model.image_size * source.reduce} px by "
            f"data.reduce={source.reduce}, for a first look in minutes; for a real run, on a GPU: "
            "--set data.reduce=1 --set model.dim=256 --set run.steps=50000."
        )


def _parse_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise HistodsError(f"--name {name!r} is not a plain name for a run; give, for example, --name first-try.")
    return name


def _prepare(
    folder: Path,
    config: TrainConfig,
    source: Source,
    process: Process,
    state: State | None,
    start: Initial | None,
    call: Call,
) -> Trainer:
    """Make the trainer, in the state of the run."""
    described, space, encoder = _prepare_latents(folder, config, source, process, state, start, call)
    torch.manual_seed(config.run.seed)
    with process.together():
        model = _make_network(config, process)
        if start is not None:
            call.say(start.fill(model, source.classes))
    setup = RunSetup(
        config=config,
        process=process,
        source=source,
        encoder=encoder,
        space=space,
        folder=folder,
    )
    trainer = Trainer(setup, model=model, autoencoder=described)
    if state is not None:
        checkpoint = newest(folder)
        assert checkpoint is not None  # noqa: S101 - the state was read from it
        trainer.restore(state, lambda part: read_tensors(checkpoint, part))
    return trainer


def _prepare_latents(
    folder: Path,
    config: TrainConfig,
    source: Source,
    process: Process,
    state: State | None,
    start: Initial | None,
    call: Call,
) -> tuple[dict[str, str], LatentSpace, Encoder]:
    """The autoencoder's name and digest, the latent space, and the encoder; masks need no autoencoder."""
    if config.data.what == "masks":
        encoder = MaskEncoder(len(source.classes), config.run.seed, process.device, compiled=config.run.compile)
        return {"name": "", "digest": ""}, LatentSpace.preset("one_hot"), encoder
    given = None if start is None else start.known_autoencoder
    described, autoencoder = resolve_autoencoder(
        config, source, folder, process, state, call.progress, given=given
    )
    if start is not None:
        start.check_autoencoder(described["digest"])
    if state is None:
        seen = None if start is None else start.known_space
        space = fit_latent_space(config, source, autoencoder, process, call.progress, given=seen)
    else:
        space = LatentSpace.from_json(state.latent_space)
    return described, space, Encoder(autoencoder, space.image_low, process.device, compiled=config.run.compile)


def _make_network(config: TrainConfig, process: Process) -> UNet:
    """The network with its initial weights, on the device."""
    try:
        return UNet(config.model).to(process.device)
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        raise HistodsError(
            f"The network does not fit into the memory of {describe(process.device)} "
            f"({' '.join(str(error).split())[:200]}): lower model.dim or model.dim_mults."
        ) from error


def _run(trainer: Trainer, call: Call) -> None:
    """Train to the last step, with validation and previews; process 0 writes the results."""
    call.progress("preparing validation", 0, 0)
    process, run = trainer.process, trainer.config.run
    with process.together():
        validation = Validation(trainer.setup)
    makes = trainer.config.data.what == "masks" or trainer.encoder.autoencoder is not None
    draws = process.tell(run.preview_every > 0 and makes and can_draw())
    preview = Preview(trainer.setup, validation.masks_BCHW) if draws else None
    with ExitStack() as held:
        metrics = None
        with process.together():
            if process.first:
                settings = flatten(trainer.config)
                metrics = held.enter_context(Metrics(trainer.folder, trainer.step, run.boards, settings, call.say))
        trainer.run(metrics, validation if run.validate_every else None, preview, call.progress)


def _shapes(config: TrainConfig) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The shapes of the tensors in the network for 4 images, determined without computing."""
    batch, size = 4, config.model.image_size
    side = size // config.latent_factor
    with torch.device("meta"):
        model = UNet(config.model)
        x = torch.empty(batch, config.model.channels, side, side)
        times = torch.empty(batch, dtype=torch.int64)
        masks = torch.empty(batch, 1, size, size, dtype=torch.uint8)
    return tuple((name, tuple(shape)) for name, shape in shapes(model, x, times, masks))
