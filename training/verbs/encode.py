"""encode: compute the latents of all images of the shards, in 8 views, so that training runs no autoencoder.

Latents cannot be mirrored or rotated, so the views are encodings of transformed images. A killed run resumes shard
by shard and ends with the same bytes.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from histods.errors import HistodsError
from histods.io.atomic import file_digest, only_one
from histods.io.workspace import Workspace, read_json, refuse_file
from histods.printing import printed
from histods.shards.base import read_index, write_index
from histods.shards.images.reader import ShardReader
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import INDEX, LINEAR, EncodedBy, LatentSet
from histods.shards.latents.verify import add_up, check_latents, training_split
from histods.shards.latents.writer import SAMPLES, Plan, Shape, plan_shard, rows_of
from histods.shards.resumable_write import begin_shards, clean_up, collect_shards, write_part
from histods.shards.verified import conclude_verification
from histods.tiles.grid import tile_advice
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder, is_linear
from training.data.image_size import one_shape
from training.distributed import processes
from training.gpu_processes import gpus_to_share, in_processes
from training.latents.encode_shards import decoded, encode_shards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from histods.records import Progress
    from training.autoencoders.base import Autoencoder

_FITTED_IMAGES = 4096  # 16 million blocks of 512x512 images, for a covariance of 192 numbers
_PATIENCE = timedelta(days=1)  # one process may have one shard more than another
_FORMAT = 1  # of shards; a new format makes a new plan


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeResult:
    """The contents of a folder of latents.

    Attributes:
        latents: the contents of `latents.json`.
        written: number of shards that this call wrote.
        present: number of shards that already existed.
        verified: whether every byte was read and compared.
    """

    latents: LatentSet
    written: int = 0
    present: int = 0
    verified: bool = False


def encode(
    *,
    workspace: str | Path | None = None,
    vae: str | Path = LINEAR,
    views: int = 8,
    shards: str | Path | None = None,
    out: str | Path | None = None,
    device: torch.device | str | None = None,
    verify: bool = False,
    progress: Progress | None = None,
) -> EncodeResult:
    """Encode the images of shards, or verify existing latents.

    If the folder holds latents of the same autoencoder, shards whose samples have not changed are kept.

    Args:
        workspace: folder of the shards, and for the latents.
        vae: `linear` (fitted to training images), the folder of an autoencoder, or a hub id.
        views: 8 for all dihedral views of each image and mask, 1 for the original only.
        shards: folder of the image shards; by default `shards` in the workspace.
        out: folder for the latents; by default `latents` in the workspace.
        device: where to compute; by default all GPUs of this machine or, under `torchrun`, each process's own.
        verify: write no latents; read and compare every byte of those that are there, and record it in
            `verified.log`.
        progress: called with a stage, the number of samples done, and the total.

    Raises:
        HistodsError: the input is wrong, the folder holds other latents, or latents are damaged.
        StaleFileError: the latents to verify were encoded from other shards.
    """
    space = Workspace.find(workspace)
    source = space.shards if shards is None else Path(shards)
    folder = space.latents if out is None else Path(out)
    if verify:
        return _verify(folder, source, progress)
    if views not in (1, 8):
        raise HistodsError(f"--views is {views}; it must be 8 or 1: choose one of them.")
    refuse_file(folder, "--out")
    if space.audit.is_file():
        space.check_place(folder, "--out", Path(read_json(space.audit)["root"]))
    arguments: dict[str, Any] = {"source": source, "folder": folder, "vae": vae, "views": views, "device": device}
    count = gpus_to_share(device)
    if count > 1:
        return in_processes(_encode, count, arguments, progress)
    return _encode(**arguments, progress=progress)


def _encode(
    source: Path,
    folder: Path,
    vae: str | Path,
    views: int,
    device: torch.device | str | None,
    progress: Progress | None,
) -> EncodeResult:
    """Encode in this process; several processes divide the shards among them."""
    with processes(device, patience=_PATIENCE) as process, ExitStack() as held:
        with process.together():
            reader = ShardReader(source)
            height, width = _image_size(reader, views)
            if process.first:
                held.enter_context(only_one(folder, "writes latents"))
                known = LatentSet.describe(folder) if (folder / LatentSet.FILE).is_file() else None
                autoencoder = _autoencoder(vae, views, known, folder, reader, progress)
                plans = _plan(reader, autoencoder, views, height, width)
                todo = _begin(folder, known, plans)
                _keep(autoencoder, folder / "autoencoder")
        names, digests = process.tell(
            ([plan.name for plan in todo or ()], [plan.digest for plan in plans]) if process.first else None
        )
        with process.together():
            if not process.first:
                autoencoder = _given(vae, folder)
                plans = _plan(reader, autoencoder, views, height, width)
                if [plan.digest for plan in plans] != digests:
                    raise HistodsError(
                        f"{source} or the autoencoder {vae} differs from that of process 0: put both where "
                        "all machines see them."
                    )
            wanted, own = set(names), set(names[process.rank :: process.world_size])
            shape = _shape(autoencoder, views, height, width)
            encode_shards(
                [plan for plan in plans if plan.name in own],
                folder,
                reader,
                autoencoder.to(process.device),
                shape,
                process.device,
                progress,
                samples=sum(len(plan.numbers) for plan in plans if plan.name in wanted),
            )
        with process.together():
            if process.first:
                if todo is None:
                    _adopt(known, reader.shards)
                else:
                    _finish(folder, reader.shards, autoencoder, shape, {plan.name for plan in plans})
                clean_up(folder)
        return EncodeResult(
            latents=LatentSet.describe(folder), written=len(names), present=len(plans) - len(names)
        )


def _given(vae: str | Path, folder: Path) -> Autoencoder:
    """The autoencoder that process 0 encodes with; the built-in one is stored with the latents."""
    if str(vae) == LINEAR:
        return LinearAutoencoder.load(folder / "autoencoder")
    return _load(vae)


def _load(vae: str | Path) -> Autoencoder:
    """Load the autoencoder from a folder, by its absolute path, or from a hub id."""
    return load_autoencoder(str(Path(vae).resolve()) if Path(vae).is_dir() else str(vae))


def _shape(autoencoder: Autoencoder, views: int, height: int, width: int) -> Shape:
    factor = autoencoder.factor
    return Shape(views, autoencoder.channels, height // factor, width // factor, height, width)


def _image_size(reader: ShardReader, views: int) -> tuple[int, int]:
    """The height and width of all images."""
    index = read_index(reader.shards, ["key", "height", "width"])
    height, width = one_shape(index, "encode them")
    if views == 8 and height != width:
        raise HistodsError(
            f"The images are {width}x{height}, but 8 views need square images; "
            f"{tile_advice((height, width))}, or encode with --views 1."
        )
    return height, width


def _autoencoder(
    vae: str | Path,
    views: int,
    known: LatentSet | None,
    folder: Path,
    reader: ShardReader,
    progress: Progress | None,
) -> Autoencoder:
    """Load the named autoencoder, unless the folder holds finished latents of another one.

    The built-in one never counts as another: it is fitted again if the images have changed.
    """
    if str(vae) == LINEAR:
        _refuse_others(known, LINEAR, views, None)
        return _linear(folder / "autoencoder", reader, progress)
    found = _load(vae)
    _refuse_others(known, found.name, views, found.digest)
    return found


def _refuse_others(known: LatentSet | None, name: str, views: int, digest: str | None) -> None:
    """Refuse to replace finished latents by those of another autoencoder or number of views."""
    if known is None:
        return
    before = known.autoencoder
    same = before.name == LINEAR if digest is None else before.digest == digest
    if not same or known.views != views:
        raise HistodsError(
            f"{known.folder} was encoded with {before.name} {before.digest[:12]} and {known.views} views, "
            f"not with {name}{'' if digest is None else f' {digest[:12]}'} and {views} views; "
            "write to a new folder with --out, or remove this one."
        )


def _linear(home: Path, reader: ShardReader, progress: Progress | None) -> LinearAutoencoder:
    """The linear autoencoder stored with the latents; fitted if it is missing or its images have changed."""
    source = reader.shards.index_digest
    if is_linear(home):
        with suppress(HistodsError):  # a damaged one is fitted again
            kept = LinearAutoencoder.load(home)
            if kept.source == source:
                return kept
    training = ShardReader(reader.shards.folder, sorted(training_split(set(reader.splits))))
    count = min(_FITTED_IMAGES, len(training))
    numbers = np.linspace(0, len(training) - 1, count).round().astype(np.int64)

    def images() -> Iterator[Tensor]:
        for done, (image, _) in enumerate(decoded(training, numbers), start=1):
            yield torch.from_numpy(image)[None]
            if progress is not None:
                progress("fitting the linear autoencoder", done, count)

    return LinearAutoencoder.fit(images(), source)


def _keep(autoencoder: Autoencoder, home: Path) -> None:
    """Store a linear autoencoder with its latents; remove one that a killed run with another autoencoder left."""
    if isinstance(autoencoder, LinearAutoencoder):
        autoencoder.save(home)
    elif is_linear(home):
        shutil.rmtree(home)


def _plan(reader: ShardReader, autoencoder: Autoencoder, views: int, height: int, width: int) -> list[Plan]:
    """Plan all shards: each split in the order of its image shards, cut after a fixed number of samples."""
    plans: list[Plan] = []
    shape = _shape(autoencoder, views, height, width)
    index = read_index(reader.shards, ["shard", "image_offset", *SAMPLES.names])
    how = repr((_FORMAT, autoencoder.digest, tuple(shape), reader.shards.map_digest))
    index = index.append_column("number", pa.array(np.arange(len(index))))
    index = index.sort_by([("split", "ascending"), ("shard", "ascending"), ("image_offset", "ascending")])
    for split in reader.splits:
        here = index.filter(pc.equal(index["split"], split))
        for number, first in enumerate(range(0, len(here), shape.samples_per_shard)):
            rows = here.slice(first, shape.samples_per_shard)
            plans.append(plan_shard(f"{split}-{number:05d}", rows, rows["number"].to_numpy(), how))
    return plans


def _begin(folder: Path, known: LatentSet | None, plans: list[Plan]) -> list[Plan] | None:
    """The shards to write; None if all exist. Latents that have partly changed are marked unfinished."""
    digests = {plan.name: plan.digest for plan in plans}
    if known is not None:
        sound = not known.check_index()
        if sound and not known.check_sizes() and digests == {one.name: one.plan for one in known.shards}:
            return None
        rows = read_index(known).cast(INDEX) if sound else None
        for one, plan in ((one, plan) for one in known.shards for plan in plans if one.plan == plan.digest):
            path = known.path(one.name)
            if rows is not None:
                own = rows.filter(pc.equal(rows["shard"], one.name)).sort_by("moments_offset")
            elif path.is_file() and file_digest(path) == one.sha256:
                own = rows_of(path, plan)
            else:
                continue
            write_part(folder, one.name, own, size=one.bytes, sha256=one.sha256, plan=one.plan)
    names = set(begin_shards(LatentSet, folder, digests, ()))
    (folder / LatentSet.FILE).unlink(missing_ok=True)
    return [plan for plan in plans if plan.name in names]


def _adopt(known: LatentSet | None, source: ShardSet) -> None:
    """Keep latents that need no new shard, even if the images are in other shards than before."""
    assert known is not None  # noqa: S101 - all that is planned is there
    if known.source_digest != source.index_digest:
        replace(known, source_digest=source.index_digest).write()


def _finish(folder: Path, source: ShardSet, autoencoder: Autoencoder, shape: Shape, planned: set[str]) -> None:
    """Write the index and, last, the description against which all files are checked."""
    shards, index = collect_shards(folder, INDEX.empty_table())
    if missing := sorted(planned - {one.name for one in shards}):
        raise HistodsError(
            f"{missing[0]} is not in {folder}, although a process has written it ({len(missing)} shards in all): "
            "put the folder where all machines see it, and run the same command again."
        )
    training = training_split({one.split for one in shards})
    sums = add_up([folder / f"{one.name}{LatentSet.SUFFIX}" for one in shards if one.split in training])
    mean, std = sums.mean_and_std()
    latents = LatentSet(
        folder=folder,
        shards=tuple(shards),
        map=source.map,
        classes=source.classes,
        labels=source.labels,
        map_digest=source.map_digest,
        index_digest=write_index(index, folder),
        autoencoder=EncodedBy(
            name=autoencoder.name,
            digest=autoencoder.digest,
            factor=autoencoder.factor,
            channels=autoencoder.channels,
        ),
        **shape._asdict(),
        source_digest=source.index_digest,
        mean=mean,
        std=std,
    )
    latents.write()


def _verify(folder: Path, source: Path, progress: Progress | None) -> EncodeResult:
    """Read every byte of all latents."""
    latents = LatentSet.describe(folder)
    if (source / ShardSet.FILE).is_file():  # else they were copied to another machine without the images
        latents.check_source(ShardSet.describe(source))
    problems = check_latents(latents, progress)
    if latents.autoencoder.name == LINEAR:
        try:
            digest = LinearAutoencoder.load(folder / "autoencoder").digest
        except HistodsError as error:
            problems.append(f"the autoencoder is damaged ({error})")
        else:
            if digest != latents.autoencoder.digest:
                problems.append("the autoencoder is not the one that made these latents")
    conclude_verification(latents, problems)
    return EncodeResult(latents=latents, present=len(latents.shards), verified=True)
