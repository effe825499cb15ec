"""Make what a run needs in a workspace, in order: class system, split, shards, and latents if they pay off."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from histods.classes.class_system import find_by_digest
from histods.dataset.manifest import Manifest
from histods.errors import HistodsError, TooFewSamplesError
from histods.labels.label_map import IDENTITY
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LINEAR
from histods.stages import (
    class_system_stages,
    edited_file,
    latent_stage,
    shard_stage,
    split_stage,
    training_map,
)
from training.config.model import LATENT_FACTOR
from training.data.image_size import check_multiple, one_shape
from training.runs.checkpoint import newest, read_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.io.workspace import Workspace
    from histods.records import Progress
    from histods.stages import Stage
    from training.config.sections import TrainConfig
    from training.distributed import Process
    from training.runs.checkpoint import State

_VIEWS = 8
_MOMENTS = 2 * 2  # bytes of a mean and of a log-variance in half precision
_SPARE_DISK = 1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What `prepare` may do, and its callbacks.

    Attributes:
        space: the workspace.
        run: folder of the run.
        map: the given label map; None for the workspace's only one, or for that of an existing run.
        make: make what is missing or out of date; else fail and name the command that makes it.
        say: called with one line before each part is made.
        progress: called as the work proceeds.
    """

    space: Workspace
    run: Path
    map: str | Path | None
    make: bool
    say: Callable[[str], None]
    progress: Progress


def prepare(asked: Preparation, config: TrainConfig, process: Process) -> None:
    """Make what training needs and the workspace lacks, and remake what is out of date.

    A workspace without an audit is used unchanged: its shards may have been copied there without one.

    Args:
        asked: what may be done.
        config: settings of the run.
        process: its device decides whether latents pay off.

    Raises:
        HistodsError: something is missing and must not be made, or the run began with other data.
    """
    space = asked.space
    if not space.audit.is_file():
        return
    audit = space.read_audit()
    checkpoint = newest(asked.run)
    state = None if checkpoint is None else read_state(checkpoint)
    name = asked.map or (None if state is None else find_by_digest(space, state.map_digest))
    known = class_system_stages(space, audit)
    for stage in known:
        if stage.name == str(name) or (name is None and len(known) == 1):
            file = edited_file(space, audit, stage.name)
            _bring(stage, asked, state, f"class system '{stage.name}'", partial(_remap, asked, file or stage.name))
    label_map = training_map(space, audit, name)
    if not (space.shards / ShardSet.FILE).is_file():  # before writing anything that training cannot use
        _check_sizes(space, Path(audit.root), config)
    split = split_stage(space, audit)
    if split.state != "missing" or not _is_unsplit(space):
        _bring(split, asked, state, "split", partial(_split, asked))
    stage = shard_stage(space, audit, label_map, named=name is not None)
    if label_map is None and stage.state != "done":
        raise HistodsError(
            f"The shards in {space.shards} are out of date: {stage.detail}. The workspace does not have their "
            f"label map: name its file with '{stage.command}'."
        )
    of_map = "" if label_map is None else f" with the classes of '{label_map.name}'"
    if label_map is not None and label_map.name == IDENTITY:
        of_map = " with the labels as classes (no label map)"
    _bring(stage, asked, state, f"shards{of_map}", partial(_shard, asked, name))
    if config.data.what == "images":
        _bring_latents(asked, config, process, state)


def _bring_latents(asked: Preparation, config: TrainConfig, process: Process, state: State | None) -> None:
    """Make latents if they pay off, or again if they are out of date."""
    space = asked.space
    stage = latent_stage(space)
    if stage.state == "stale":
        _bring(stage, asked, state, "latents", partial(_encode_again, asked, process))
    elif stage.state == "missing" and state is None and _latents_pay(space, config, process):
        _bring(stage, asked, state, "latents", partial(_encode, asked, config, process))


def foresee(
    space: Workspace, label_map: str | Path | None, config: TrainConfig
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The classes, and the height and width of the images in pixels, of the shards that `prepare` would make.

    Raises:
        HistodsError: `prepare` would fail.
    """
    audit = space.read_audit()
    chosen = training_map(space, audit, label_map)
    assert chosen is not None  # noqa: S101 - there are no shards whose map it could be
    return chosen.classes, _check_sizes(space, Path(audit.root), config)


def _check_sizes(space: Workspace, root: Path, config: TrainConfig) -> tuple[int, int]:
    """Before making shards, reject images of several sizes, or of a size that the network cannot halve.

    Returns:
        The height and width of the images, pixels.
    """
    manifest = Manifest.read(space.manifest).table
    used = manifest.filter(pc.not_equal(manifest["role"], "excluded"))
    if not len(used):
        raise HistodsError(f"No sample of {root} can be used: 'histods show{space.option}' lists why.")
    height, width = one_shape(used, "run 'histods train' in their workspace")
    check_multiple(height, width, LATENT_FACTOR * config.model.size_multiple, config.model.dim_mults, root)
    return height, width


def _bring(stage: Stage, asked: Preparation, state: State | None, what: str, make: Callable[[], None]) -> None:
    """Make one part if it is missing or out of date.

    Raises:
        HistodsError: it must not be made, or the run was trained on the current one.
    """
    if stage.state == "done":
        return
    if state is not None and state.index_digest and stage.state == "stale":
        raise HistodsError(
            f"{asked.run} began with other data: {stage.detail}. 'histods train --name NEW{asked.space.option}' "
            f"makes them again for a new run; to keep the old run resumable, first copy {asked.space.shards} and "
            "name the copy with --data."
        )
    if not asked.make:
        raise HistodsError(f"The {what} cannot be used: {stage.detail}. Run '{stage.command}'.")
    again = "" if stage.state == "missing" else f" again ({stage.detail})"
    asked.say(f"Making the {what}{again}: {stage.command}")
    make()


def _is_unsplit(space: Workspace) -> bool:
    """Whether the workspace has shards that were made without a split, on purpose."""
    return (space.shards / ShardSet.FILE).is_file() and ShardSet.describe(space.shards).split_digest is None


def _remap(asked: Preparation, name: str | Path) -> None:
    from histods.steps.remap import remap

    remap(workspace=asked.space.folder, map=name, progress=asked.progress)


def _split(asked: Preparation) -> None:
    """Split as before, or 9 to 1; do not split too few samples."""
    from histods.splits.split_table import read_any_split
    from histods.steps.split import split

    options: dict[str, Any] = {}
    if asked.space.split.is_file():
        before = read_any_split(asked.space)[1]
        options = asdict(before)
    try:
        result = split(workspace=asked.space.folder, progress=asked.progress, **options)
    except TooFewSamplesError as error:
        asked.space.split.unlink(missing_ok=True)
        asked.say(f"No split, so all samples are used for training: {error}")
        return
    groups = result.check.groups
    how = (
        f"no group of {groups:,} is in two of them"
        if groups
        else "no groups are known, so patches of one slide may be in several: see 'histods split --group-regex'"
    )
    if result.proposed is not None:
        how += (
            f", {result.proposed.expression!r} would give {result.proposed.groups:,} groups such as "
            f"{result.proposed.group!r}"
        )
    doubt = (
        ""
        if result.check.duplicates is not None
        else " Duplicates were not searched for: use 'histods audit --hash'."
    )
    asked.say(f"{', '.join(f'{one.samples:,} {one.name}' for one in result.splits)}; {how}.{doubt}")


def _shard(asked: Preparation, name: str | Path | None) -> None:
    from histods.steps.shard import shard

    shard(workspace=asked.space.folder, map=name, overwrite=True, progress=asked.progress)


def _encode_again(asked: Preparation, process: Process) -> None:
    """Encode with the autoencoder of the existing latents."""
    from histods.shards.latents.latent_set import LatentSet
    from training.verbs.encode import encode

    before = LatentSet.describe(asked.space.latents)
    encode(
        workspace=asked.space.folder,
        vae=before.autoencoder.name,
        views=before.views,
        device=process.device,
        progress=asked.progress,
    )


def _encode(asked: Preparation, config: TrainConfig, process: Process) -> None:
    from training.verbs.encode import encode

    encode(
        workspace=asked.space.folder,
        vae=config.latents.autoencoder,
        device=process.device,
        progress=asked.progress,
    )


def _latents_pay(space: Workspace, config: TrainConfig, process: Process) -> bool:
    """Whether to encode all images before training.

    Encoding computes 8 views of each image. That pays off if training would encode more than that in its steps,
    and if encoding is slower than the network: with an autoencoder that is itself a network, or on a GPU, which
    would wait for JPEG decoding. The latents must fit on the disk.
    """
    if config.data.reduce != 1 or not config.data.augment:
        return False
    if process.device.type == "cpu" and config.latents.autoencoder == LINEAR:
        return False
    shards = ShardSet.read(space.shards)
    samples = sum(one.samples for one in shards.shards)
    side = config.model.image_size // 8
    size = samples * _VIEWS * _MOMENTS * config.model.channels * side * side
    seen = config.run.steps * config.data.batch_size
    return seen >= _VIEWS * samples and shutil.disk_usage(space.folder).free > _SPARE_DISK * size
