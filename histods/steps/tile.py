"""tile: cut images and masks of any sizes into patches of one size."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import polars as pl

from histods.colours.colour_labels import OFF_PALETTE_LABEL
from histods.dataset.filled_folder import remove_incomplete
from histods.dataset.manifest import Manifest
from histods.engines import Failed, engine_for
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import locked
from histods.io.workspace import Workspace, refuse_file
from histods.labels.audit_labels import labels_of_audit
from histods.printing import printed
from histods.splits.preassigned import read_split_column
from histods.tiles.cut import TileOptions, cut_tiles
from histods.tiles.folder import claim, copy_label_maps, open_journal, read_done, write_tables
from histods.tiles.mark import SCHEMA_VERSION, TileMark, write_mark
from histods.tiles.plan import chunk_tasks, digest_plan, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.engines import Engine
    from histods.io.audit_summary import AuditSummary
    from histods.io.journal import Journal
    from histods.records import Progress
    from histods.tiles.cut import TileTask

EDGES = ("shift", "pad")
_MAX_SIDE = 65_535  # of a PNG that every reader takes
_MAX_LABEL = 65_535
_KEPT = ("key", "source_image", "source_mask", "role", "group", "split", "own_group")


class TileCount(NamedTuple):
    """Images of a kind, the tiles that were written of them, and the blank ones that were not."""

    images: int
    tiles: int
    blank: int


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class TileResult:
    """What is in a folder of tiles.

    Attributes:
        folder: where the tiles are.
        size: pixels of a side of a tile.
        stride: pixels from one tile to the next.
        edge: `shift`: the last tile of a row or column lies further inside; `pad`: it was padded.
        pad_label: label of the padding of masks; the padding of images is white.
        pairs: images with masks.
        unconditional: images without.
        written: tiles that this run wrote.
        present: tiles that were there already.
        padded: tiles with padding.
        coverage: pixels of all tiles, blank ones too and padding not, for each pixel of the images: above 1 where
            tiles overlap.
        small: paths of images that are smaller than a tile, and therefore padded.
        blank_images: paths of images that have only blank tiles, and none of them written.
        unreadable: images that could not be decoded, with the reason.
        off_palette: pixels of masks whose colour no label has; their label is 65535.
        groups: number of different groups.
        own_groups: images whose group is the image itself, since the audit knew none.
        left_out: excluded samples of the audit.
        label_maps: YAML files of the dataset's folder that were copied, so that label maps are found beside the
            tiles.
        audit: the command that audits the tiles.
    """

    folder: Path
    size: int
    stride: int
    edge: Literal["shift", "pad"]
    pad_label: int
    pairs: TileCount
    unconditional: TileCount
    written: int
    present: int
    padded: int
    coverage: float
    small: tuple[str, ...]
    blank_images: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    off_palette: int
    groups: int
    own_groups: int
    left_out: int
    label_maps: tuple[str, ...]
    audit: str


def tile(
    *,
    to: str | Path,
    size: int = 512,
    stride: int | None = None,
    edge: Literal["shift", "pad"] = "shift",
    pad_label: int = 0,
    keep_blank: bool = False,
    workspace: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TileResult:
    """Cut the images and masks of the last audit into tiles of one size, in a folder that the audit reads.

    No pixel is resampled: tiles of images are PNG, those of masks PNG of labels. An interrupted run goes on. The
    tiles of one image share its group, or else have the image as theirs.

    Args:
        to: new folder for the tiles, outside the dataset.
        size: pixels of a side of a tile.
        stride: pixels from one tile to the next, at most `size`; `size` if None.
        edge: `shift` moves the last tile of a row or column inwards, so that it overlaps the one before; `pad`
            pads it to the right and below. Images smaller than a tile are padded in any case.
        pad_label: label of the padding of masks; that of images is white.
        keep_blank: write tiles without tissue and without a label other than 0, too.
        workspace: folder of the audit.
        workers: processes; all usable cores by default.
        progress: called with a stage, images done and images in all.

    Raises:
        HistodsError: the call is wrong, or the folder holds something else.
        StaleFileError: the manifest or a file is not the one that was audited.
    """
    step = size if stride is None else stride
    _check_numbers(size, step, edge, pad_label)
    space, folder = Workspace.find(workspace), Path(to)
    audit = space.read_audit()
    root = Path(audit.root)
    space.check_place(folder, "--to", root)
    refuse_file(folder, "--to")
    names = labels_of_audit(audit)
    options = TileOptions(
        root=audit.root,
        folder=str(folder.resolve()),
        size=size,
        stride=step,
        edge=edge,
        pad_label=pad_label,
        keep_blank=keep_blank,
        audit=audit.command,
        colours=dict(names.colours),
        nearest=audit.options.nearest_colour,
    )
    manifest = pl.DataFrame(Manifest.read(space.manifest).table)
    samples = _with_sources(manifest.filter(pl.col("role") != "excluded"), space, audit)
    tasks = plan_tiles(samples)
    mark = TileMark(
        schema_version=SCHEMA_VERSION,
        root=audit.root,
        size=size,
        stride=step,
        edge=edge,
        pad_label=pad_label,
        keep_blank=keep_blank,
        plan_digest=digest_plan(tasks, options),
        manifest_digest=audit.manifest_digest,
        command=_command(options, space),
        tiles_digest=None,
    )
    with engine_for("local", workers) as engine, locked(folder, "cuts tiles"):
        known = claim(folder, mark)
        with open_journal(folder) as journal:
            done = read_done(folder, known, journal)
            ready = set(done["source"])
            todo = [task for task in tasks if task.key not in ready]
            write_mark(folder, mark)
            _run(engine, todo, options, journal, progress)
            cut = pl.concat([done, pl.DataFrame(journal.table()).filter(~pl.col("source").is_in(list(ready)))])
            cut = cut.unique(["source", "x", "y"], keep="last", maintain_order=True)
            tiles = cut.join(samples.select(*_KEPT), left_on="source", right_on="key", how="inner")
            maps = copy_label_maps(root, folder)
            write_tables(folder, tiles, mark)
            if known is not None:
                remove_incomplete([folder, *(folder / target for target in {task.target for task in todo})])
            journal.remove()
    return _result(options, folder, tiles, samples, done, maps, audit, len(manifest) - len(samples))


def _check_numbers(size: int, stride: int, edge: str, pad_label: int) -> None:
    if not 1 <= size <= _MAX_SIDE:
        raise HistodsError(f"--size {size:,} is not between 1 and {_MAX_SIDE:,} pixels; 512 is usual.")
    if not 1 <= stride <= size:
        why = ", so some pixels would be in no tile" if stride > size else ""
        raise HistodsError(
            f"--stride {stride:,} is not between 1 and the {size:,} pixels of --size{why}; leave it out for "
            "tiles side by side."
        )
    if edge not in EDGES:
        raise HistodsError(f"--edge cannot be {edge!r}; choose shift or pad.")
    if not 0 <= pad_label <= _MAX_LABEL:
        raise HistodsError(f"--pad-label {pad_label:,} is not between 0 and {_MAX_LABEL:,}; 0 is usual.")


def _with_sources(samples: pl.DataFrame, space: Workspace, audit: AuditSummary) -> pl.DataFrame:
    """Add the group that tiles get, the split that the pairs file gives, and the paths under their new names."""
    if samples.is_empty():
        raise HistodsError(f"No image in {space.folder} can be used, so there is none to cut; see its findings.")
    split = read_split_column(space, audit).select("image_path", "split")
    samples = samples.join(split, on="image_path", how="left", maintain_order="left")
    return samples.with_columns(
        own_group=pl.col("group").is_null(),
        group=pl.coalesce("group", "key"),
        source_image="image_path",
        source_mask="mask_path",
    )


def _command(options: TileOptions, space: Workspace) -> str:
    """The command that cuts these tiles."""
    words = ["histods", "tile", "--size", str(options.size)]
    words += ["--stride", str(options.stride)] if options.stride != options.size else []
    words += ["--edge", options.edge] if options.edge != EDGES[0] else []
    words += ["--pad-label", str(options.pad_label)] if options.pad_label else []
    words += ["--keep-blank"] if options.keep_blank else []
    return shlex.join([*words, "--to", options.folder, "-w", str(space.folder.resolve())])


def _run(
    engine: Engine,
    tasks: Sequence[TileTask],
    options: TileOptions,
    journal: Journal,
    progress: Progress | None,
) -> None:
    """Cut all images; what is wrong with the disk or the dataset ends it, and what was done is kept."""
    done = 0
    for outcome in engine.run(partial(cut_tiles, options=options), chunk_tasks(tasks, engine.workers)):
        if isinstance(outcome, Failed):
            raise HistodsError(
                f"{outcome.chunk[0].image_path} could not be cut ({outcome.error}); use fewer --workers, "
                "so that there is more memory for each."
            )
        report = outcome.value
        journal.append(report.rows)
        if report.disk is not None:
            raise HistodsError(
                f"Writing into {options.folder} failed ({report.disk}); "
                "fix that and run the same command again to continue."
            )
        if report.stale is not None:
            raise StaleFileError(report.stale)
        done += len(outcome.chunk)
        if progress is not None:
            progress("cutting images", done, len(tasks))


def _result(
    options: TileOptions,
    folder: Path,
    tiles: pl.DataFrame,
    samples: pl.DataFrame,
    done: pl.DataFrame,
    maps: tuple[str, ...],
    audit: AuditSummary,
    left_out: int,
) -> TileResult:
    written = tiles.filter(status="written")
    has_mask = pl.col("source_mask").is_not_null()
    unreadable = tiles.filter(status="unreadable").sort("source_image")
    blank = tiles.filter(status="blank").join(written, on="source", how="anti")
    small = samples.filter((pl.col("width") < options.size) | (pl.col("height") < options.size))
    off_palette = 0
    if options.colours:
        rest = samples.select("labels", "pixels").explode("labels", "pixels")
        off_palette = int(rest.filter(labels=OFF_PALETTE_LABEL)["pixels"].sum())
    cut = tiles.filter(pl.col("status") != "unreadable")
    inside = samples.join(cut, left_on="key", right_on="source", how="semi")
    result = TileResult(
        folder=folder,
        size=options.size,
        stride=options.stride,
        edge=options.edge,
        pad_label=options.pad_label,
        pairs=_count(tiles.filter(has_mask)),
        unconditional=_count(tiles.filter(~has_mask)),
        written=len(written) - len(done.filter(status="written")),
        present=len(done.filter(status="written")),
        padded=len(written.filter((pl.col("width") < options.size) | (pl.col("height") < options.size))),
        coverage=_area(cut) / max(_area(inside), 1),
        small=tuple(small["source_image"].sort()),
        blank_images=tuple(blank["source_image"].unique().sort()),
        unreadable=tuple(unreadable.select("source_image", "reason").rows()),
        off_palette=off_palette,
        groups=samples["group"].n_unique(),
        own_groups=int(samples["own_group"].sum()),
        left_out=left_out,
        label_maps=maps,
        audit="",
    )
    return replace(result, audit=_audit_command(result, audit))


def _count(tiles: pl.DataFrame) -> TileCount:
    return TileCount(tiles["source"].n_unique(), *(len(tiles.filter(status=one)) for one in ("written", "blank")))


def _area(rows: pl.DataFrame) -> int:
    """Pixels of all rows."""
    return int(rows.select((pl.col("width").cast(pl.Int64) * pl.col("height").cast(pl.Int64)).sum()).item())


def _audit_command(result: TileResult, audit: AuditSummary) -> str:
    """The command that audits the tiles, into a workspace of their own."""
    labels = audit.options.labels
    # The labels file does not name the label of unknown colours: an audit with it would exclude their tiles.
    words = ["--labels", labels] if labels and not result.off_palette else []
    space = result.folder.with_name(f"{result.folder.name or 'tiles'}-histods")
    return shlex.join(["histods", "audit", str(result.folder), *words, "-w", str(space)])
