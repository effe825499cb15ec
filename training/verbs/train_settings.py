"""Resolve a call of `train`: its data, and its settings from defaults, preset, file and `--set`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.shards.images.shard_set import ShardSet
from training.config.load import merge, read_config, with_classes
from training.data.image_size import reduction
from training.data.masks import MaskSource
from training.data.source import Source, find_data, holds_data
from training.diffusion.process import Schedule
from training.distributed import can_compile, computes_in_bf16
from training.model.conditioning import find_conditioning
from training.trainer.resume import kept_settings, refuse_imported, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from histods.io.workspace import Workspace
    from histods.records import Progress
    from training.config.sections import RunConfig, TrainConfig, What
    from training.distributed import Process
    from training.exchange.initial_weights import Initial
    from training.runs.checkpoint import Weights

_MIN_V_WEIGHT = 0.1  # the best value in docs/loss-weights.md; runs of earlier versions have none
_SIDE_ON_CPU = 128
"""Default side, in pixels, to which images are reduced for training on a CPU: minutes instead of hours."""
_MASK_SIDES = {"cpu": 64, "cuda": 128}
"""Default side, in pixels, to which masks are reduced."""
_OF_MASKS: dict[str, dict[str, Any]] = {"model": {"class_conditioning": "proportions", "spatial": False}}
"""Settings without which a network cannot make masks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """The arguments of `train`; see there."""

    space: Workspace
    folder: Path
    what: What | None
    config: str | Path | None
    settings: Sequence[str]
    map: str | Path | None
    data: str | Path | None
    prepare: bool
    resume: bool
    init: str | Path | None
    init_weights: Weights
    remake_ends: bool
    dry_run: bool
    say: Callable[[str], None]
    progress: Progress

    @property
    def begun(self) -> bool:
        """Whether it resumes with the settings of its run, since it has no configuration of its own."""
        return (
            self.config is None and (self.resume or not self.settings) and (self.folder / "config.yaml").is_file()
        )

    @property
    def imitates(self) -> bool:
        """Whether `--set` names a preset, all of which imitate DiffInfinite but `default`."""
        named = [
            value.strip()
            for key, _, value in (entry.partition("=") for entry in self.settings)
            if key.strip() == "preset"
        ]
        return named[-1:] not in ([], ["default"])

    def read(self, defaults: dict[str, dict[str, Any]]) -> TrainConfig:
        """The settings, which override `defaults`."""
        config = read_config(self.config, self.settings, defaults=defaults)
        Schedule.of(config.diffusion)
        find_conditioning(config.model.class_conditioning)
        return config


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Settled:
    """A resolved call.

    Attributes:
        config: all settings; `model.image_size` is that of the images unless another was requested.
        source: the data; None for a dry run without data.
        initial: weights to start from; None if none were given, or if the run resumes.
    """

    config: TrainConfig
    source: Source | None
    initial: Initial | None = None


def settle(call: Call, process: Process) -> Settled:
    """Find the data of a call, or make them if they are missing, and resolve its settings for them.

    Raises:
        HistodsError: data are missing or damaged, data and settings do not match, or settings are wrong.
    """
    refuse_imported(call.folder)
    what = _choose_what(call)
    if what == "masks" and call.init is not None:
        raise HistodsError("--init is for runs of images: a run of masks begins from the start, so omit it.")
    initial = _read_initial(call)
    if call.begun:
        defaults = settings_of(call.folder, process)
    else:
        complete, spatial = call.config is None, not call.imitates
        chosen = defaults_for(process, complete=complete, spatial=spatial, what=what)
        defaults = merge(chosen, kept_settings(call.folder))
    if initial is not None:
        defaults = merge(defaults, initial.defaults())
    asked = call.read(defaults)
    _check_what(call, what, asked)
    defaults = merge(layout_for(process.device, asked.run), defaults)
    if call.dry_run and call.data is None and not holds_data(call.space):
        whole = _without_data(call, asked, defaults, process)
        if whole is not None:
            return Settled(config=call.read(merge(defaults, whole)), source=None)
    source = _open(_find(call, asked, process), asked)
    side = _side(call, what, process)
    if side is not None:
        factor = source.reduction(asked.model, side) * source.reduce
        defaults = merge(defaults, {"data": {"reduce": factor}})
        asked = call.read(defaults)
        if asked.data.reduce != source.reduce:
            source = _open(source.folder, asked)
    source.check_fits(asked.model)
    # The size of the actual images, unless another was given, which matters only for a dry run.
    found: dict[str, Any] = {"image_size": source.image_size}
    if what == "masks":
        found["channels"] = len(source.classes)
    asked = call.read(merge(defaults, {"model": found}))
    asked = with_classes(asked, source.classes, str(source.folder))
    if call.dry_run:
        source.batches(asked.run.seed, asked.data.batch_size, process)  # every class must have samples
    return Settled(config=asked, source=source, initial=initial)


def _choose_what(call: Call) -> What:
    """What to train on: as called, as the run began, or as configured.

    Raises:
        HistodsError: the run began with something else.
    """
    begun = call.folder / "config.yaml"
    if begun.is_file():
        before = read_config(begun).data.what
        if call.what not in (None, before):
            raise HistodsError(
                f"{call.folder} is a run of {before}, not of {call.what}: omit --what to resume it, or choose "
                "another --name."
            )
        return before
    return call.what or read_config(call.config, call.settings, defaults=_OF_MASKS).data.what


def _check_what(call: Call, what: What, asked: TrainConfig) -> None:
    """Reject settings that contradict `--what` or the run.

    Raises:
        HistodsError: they do.
    """
    if asked.data.what != what:
        raise HistodsError(
            f"data.what is {asked.data.what}, but {call.folder.name} is a run of {what}: omit one of them."
        )


def _side(call: Call, what: What, process: Process) -> int | None:
    """The side to which images or masks are reduced by default; None to leave them."""
    if call.config is not None or call.begun:
        return None
    if what == "masks":
        return _MASK_SIDES.get(process.device.type, 128)
    return _SIDE_ON_CPU if process.device.type == "cpu" else None


def _open(folder: Path, config: TrainConfig) -> Source:
    kind = MaskSource if config.data.what == "masks" else Source
    return kind(folder, config.data, validates=config.run.validate_every > 0)


def _read_initial(call: Call) -> Initial | None:
    """Read the given initial weights; a run that resumes has its own."""
    if call.init is None or call.begun:
        return None
    from training.exchange.initial_weights import read_initial

    return read_initial(call.init, call.space.runs, call.init_weights, remake_ends=call.remake_ends)


def _find(call: Call, asked: TrainConfig, process: Process) -> Path:
    """The folder to train from: the given one, unchanged, or else the workspace's after preparation."""
    if call.data is None:
        _prepare_data(call, asked, process)
    elif call.map is not None:
        raise HistodsError("--map chooses the classes of the workspace's shards: omit it with --data.")
    if asked.data.what == "masks" and call.data is None and (call.space.shards / ShardSet.FILE).is_file():
        return call.space.shards  # also where there are latents, which images are trained on
    return find_data(call.space, call.data)


def _prepare_data(call: Call, asked: TrainConfig, process: Process) -> None:
    """Make what training needs, if there is an audit; see `training.verbs.prepare`."""
    space = call.space
    if not space.audit.is_file():
        return
    try:
        from training.verbs.prepare import Preparation, prepare
    except ModuleNotFoundError as error:  # GPU machines often have little but PyTorch
        call.say(f"The contents of {space.folder} are used unchecked, since {error.name} is not installed.")
        return
    preparation = Preparation(
        space=space,
        run=call.folder,
        map=call.map,
        make=call.prepare and process.world_size == 1 and not call.dry_run,
        say=call.say,
        progress=call.progress,
    )
    prepare(preparation, asked, process)


def _without_data(
    call: Call, asked: TrainConfig, defaults: dict[str, Any], process: Process
) -> dict[str, dict[str, Any]] | None:
    """The settings that a dry run takes from the audit before there are shards; None if they cannot be known."""
    if asked.model.num_classes is not None:
        return {}
    if not call.space.audit.is_file():
        return None
    from training.verbs.prepare import foresee

    classes, (height, width) = foresee(call.space, call.map, asked)
    factor, side = asked.data.reduce, _side(call, asked.data.what, process)
    if side is not None:
        factor *= reduction((height // factor, width // factor), asked.model, side)
        factor = call.read(merge(defaults, {"data": {"reduce": factor}})).data.reduce  # unless it is asked for
    model = {"num_classes": len(classes), "image_size": height // factor}
    if asked.data.what == "masks":
        model["channels"] = len(classes)
    return {"model": model, "data": {"reduce": factor}}


def layout_for(device: torch.device, run: RunConfig) -> dict[str, dict[str, Any]]:
    """The memory layout that suits a device: channels innermost in a network compiled for a GPU.

    Unless it is compiled, group norm copies such features to the other layout and back: a step on an H100 then
    takes 1.3 times as long (docs/benchmarks.md).
    """
    return {"run": {"channels_last": device.type == "cuda" and run.compile}}


def defaults_for(
    process: Process, *, complete: bool, spatial: bool = True, what: What = "images"
) -> dict[str, dict[str, Any]]:
    """Settings that suit the device; all others override them.

    Args:
        process: this process and its device.
        complete: also choose the network's size, the batch size and the steps; else only how to compute.
        spatial: with `complete`, give the network the location of each class.
        what: what is trained on.
    """
    gpu = process.device.type == "cuda"
    half = computes_in_bf16(process.device)
    chosen: dict[str, dict[str, Any]] = {
        "run": {
            "precision": "bf16" if half else "fp32",
            "compile": can_compile(process.device),
        },
        "diffusion": {"min_v_weight": _MIN_V_WEIGHT},
    }
    if complete:
        chosen["model"] = {"dim": 256 if gpu else 32, "spatial": spatial}
        chosen["data"] = {"batch_size": (64 if gpu else 8) * process.world_size}
        chosen["optimizer"] = {"lr": 1e-4 if gpu else 1e-3}
        if gpu:
            chosen["run"]["steps"] = 50_000
        else:
            chosen["diffusion"]["sampling_timesteps"] = 50
            chosen["run"] |= {"steps": 500, "checkpoint_every": 100, "validate_every": 100, "preview_every": 250}
    if what == "masks":
        chosen = merge(chosen, _OF_MASKS)
        chosen["data"] = {**chosen.get("data", {}), "what": what}
        if complete:
            chosen["model"]["dim"] = 128 if gpu else 16  # 4 to 16 times the cells of latents
            chosen["diffusion"]["guidance_scale"] = 1.0
            if not gpu:
                chosen["optimizer"]["lr"] = 2e-3
                chosen["run"] |= {"steps": 1000, "preview_every": 500}
    return chosen
