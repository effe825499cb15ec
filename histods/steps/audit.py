"""audit: read every image and mask once, say what is wrong with each, and write the manifest."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
import xxhash

from histods.annotations.mark import check_finished
from histods.checks import CHECKS, Context, judge_all, list_measures, list_notes
from histods.checks.overrides import parse_overrides
from histods.colours.colour_labels import OFF_PALETTE_LABEL
from histods.dataset.listing import LayoutOptions, list_files, pair_files, unconditional_folders
from histods.dataset.manifest import BESIDE, Manifest
from histods.dataset.manifest import SCHEMA as MANIFEST
from histods.engines import engine_for
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.io.audit_summary import AuditSummary, RecordedOptions
from histods.io.workspace import Workspace, read_json
from histods.labels.draft import draft_labels, list_colours
from histods.labels.draft_files import check_draft_path, write_draft
from histods.labels.label_map_file import find_label_map
from histods.labels.label_names import read_labels
from histods.labels.witness import hear_dataset_csv
from histods.measurement.audit_options import AuditOptions
from histods.measurement.audit_result import (
    AuditResult,
    options_left_out,
    read_unchanged,
    write_result,
    write_summary,
)
from histods.measurement.compression import COMPRESSION
from histods.measurement.job import measure_dataset
from histods.measurement.samples import count, join_measurements, total_labels, with_likeness, with_roles
from histods.measurement.worker import MeasureOptions, measure_files
from histods.records import silent
from histods.splits.groups import check_group_regex, with_groups
from histods.tiles.mark import find_tile_pairs
from histods.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.dataset.layouts import Layout
    from histods.dataset.listing import Dataset
    from histods.labels.label_map import LabelTable
    from histods.records import Progress


def audit(
    root: str | Path,
    *,
    workspace: str | Path | None = None,
    layout: Literal["suffix", "folders", "pattern", "csv"] | None = None,
    mask_suffix: str = "_mask",
    images_dir: str = "images",
    masks_dir: str = "masks",
    image_pattern: str | None = None,
    mask_pattern: str | None = None,
    pairs: str | Path | None = None,
    unconditional: str | Path | Sequence[str | Path] = (),
    allow_unpaired: bool = False,
    labels: str | Path | None = None,
    nearest_colour: bool = False,
    group_regex: str | None = None,
    verify: Literal["structure", "decode"] = "structure",
    hash: bool = False,  # noqa: A002 - named like the command's option
    quality: bool = False,
    set: str | Sequence[str] = (),  # noqa: A002 - likewise
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    fresh: bool = False,
    write_labels: str | Path | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Read every image and mask of a dataset once and say what is wrong with each item.

    The dataset is never written to. A run that was interrupted resumes where it stopped; a second run reads
    only files whose size or time changed.

    Args:
        root: the dataset's folder.
        workspace: folder for everything that is written; as with every verb, the one that the environment names
            in `HISTODS_WORKSPACE`, else `histods-out`, if None.
        layout: how images and masks pair; found by itself when None.
        mask_suffix: `suffix` layout: what a mask's name has after its image's name.
        images_dir: `folders` layout: name of the folders of images.
        masks_dir: `folders` layout: name of the folders of masks.
        image_pattern: `pattern` layout: paths of images, with `{key}` for what names the pair.
        mask_pattern: `pattern` layout: paths of masks.
        pairs: `csv` layout: CSV file with the columns image, mask, group, split.
        unconditional: one folder, or several, of images that have no masks by design.
        allow_unpaired: every image without a mask has none by design.
        labels: file (or bundled name) that names the source labels and may give each a colour.
        nearest_colour: give pixels of unknown colours the nearest known colour's label.
        group_regex: takes a sample's group (slide, patient) from its key.
        verify: `structure`, or `decode` to decode every image fully.
        hash: also digest every image, to find exact duplicates.
        quality: also decode every image at reduced scale, to find blur, blank tiles, near-duplicates,
            masks that do not fit, and others.
        set: thresholds of checks, `checks.CODE.NAME=VALUE`; one or several. No file is read again for them.
        workers: processes; all usable cores by default.
        engine: `local`, or `ray` for a Ray cluster.
        fresh: read everything again, whatever earlier runs measured.
        write_labels: new YAML file for a draft of a labels file, from the colours and labels of the masks.
        progress: called as the work proceeds.

    Raises:
        HistodsError: the call or the dataset as a whole is wrong; single bad files never raise.
    """
    started = time.perf_counter()
    report = progress or silent
    folder = _parse_root(root)
    space = _parse_workspace(workspace)
    check_group_regex(group_regex)
    draft = None if write_labels is None else check_draft_path(write_labels, folder)
    labels_file = None if labels is None else find_label_map(str(labels), folder)
    names = None if labels_file is None else read_labels(labels_file)
    settings = (set,) if isinstance(set, str) else tuple(set)
    overrides = parse_overrides(settings, CHECKS)
    if nearest_colour and not (names and names.colours):
        raise HistodsError("--nearest-colour needs a --labels file that gives colours; give one.")
    if not (layout or pairs or image_pattern or mask_pattern):
        pairs = find_tile_pairs(folder, group_regex)  # tiles know the images, and so the groups, that they are of
    layouts = LayoutOptions(
        kind=layout,
        mask_suffix=mask_suffix,
        images_dir=images_dir,
        masks_dir=masks_dir,
        image_pattern=image_pattern,
        mask_pattern=mask_pattern,
        pairs=pairs,
        unconditional=_parse_folders(unconditional),
        allow_unpaired=allow_unpaired,
    )
    options = MeasureOptions(
        root=folder.as_posix(),
        decode=_parse_verify(verify) == "decode",
        digest_images=hash,
        colours=dict(names.colours) if names else {},
        nearest=nearest_colour,
        quality=quality,
        measures=(*list_measures(), *COMPRESSION),
    )
    recorded = RecordedOptions(
        labels=None if labels_file is None else str(labels_file.absolute()),
        labels_digest=_digest(labels_file),
        labels_have_colours=bool(names and names.colours),
        nearest_colour=nearest_colour,
        pairs=None if pairs is None else str(Path(pairs).resolve()),
        pairs_digest=_digest(pairs),
        quality=quality,
        set=settings,
    )
    command = AuditOptions(
        layout=layout,
        mask_suffix=mask_suffix,
        images_dir=images_dir,
        masks_dir=masks_dir,
        image_pattern=image_pattern,
        mask_pattern=mask_pattern,
        pairs=recorded.pairs,
        unconditional=tuple(_absolute(one) for one in layouts.unconditional),
        allow_unpaired=allow_unpaired,
        labels=recorded.labels,
        nearest_colour=nearest_colour,
        group_regex=group_regex,
        verify=verify,
        hash=hash,
        quality=quality,
        set=settings,
    ).command(folder)
    for place in (folder, *unconditional_folders(layouts.unconditional, folder)):
        space.check_apart(place, command)
    asked = [__version__, layouts, options, group_regex, recorded]
    with engine_for(engine, workers) as runner:
        first = fresh or not (space.measurements.is_file() or space.journal.is_file())
        if first:  # else there may be nothing to read, and the cores are better used otherwise
            runner.warm_up(partial(measure_files, options=options))
        report("listing files", 0, 0)
        files = list_files(folder, layouts, states=not first)
        if not first:
            known = read_unchanged(space, _fingerprint(files.fingerprint(folder), asked))
            if known is not None:
                known = replace(known, seconds=time.perf_counter() - started)
                write_summary(known)
                _write_labels(draft, known, names)
                return known
        dataset = pair_files(folder, layouts, files)
        samples = _with_groups(folder, dataset, group_regex)
        measured, read = measure_dataset(runner, dataset.files, options, space, fresh=fresh, progress=report)
    report("judging", 0, 0)
    rows = join_measurements(samples, measured, options).with_columns(nearest=pl.lit(nearest_colour))
    rows, witness, notes = hear_dataset_csv(rows, folder, pairs)
    context = Context(
        labels=None if names is None else frozenset(names.names),
        names={} if names is None else names.names,
        hashed=hash,
        has_colours=bool(names and names.colours),
        has_pairs=pairs is not None,
        witness=witness,
        quality=quality,
        overrides=overrides,
    )
    judged = judge_all(rows, context)
    findings = _with_folders(judged.drop("other"), dataset)
    rows = with_likeness(with_roles(rows, findings), judged)
    in_use, excluded = total_labels(rows, _names(names))
    settled = measured["how"].null_count() == 0
    result = AuditResult(
        root=folder,
        workspace=space.folder,
        layout=dataset.layout,
        counts=count(rows, findings),
        findings=_tally(findings, "code"),
        severities=_tally(findings, "severity"),
        labels=in_use.labels,
        masks_in_use=in_use.masks,
        excluded_labels=excluded,
        palette=list_colours(rows, names),
        groups=rows["group"].drop_nulls().n_unique(),
        other_files=dataset.other,
        suggestions=dataset.suggestions,
        hidden=dataset.hidden,
        notes=(*notes, *list_notes(rows, context)),
        manifest=_manifest(rows, dataset.layout, options, files.beside, space.folder),
        options=recorded,
        command=command,
        fingerprint=_fingerprint(files.fingerprint(folder, measured), asked) if settled else None,
        files_read=read,
        files_reused=len(dataset.files) - read,
        seconds=time.perf_counter() - started,
    )
    report("writing", 0, 0)
    result = _write(result, findings, space)
    _write_labels(draft, result, names)
    return result


def _write(result: AuditResult, findings: pl.DataFrame, space: Workspace) -> AuditResult:
    """Write the result; what it replaces is said and not written: the files tell of this dataset alone."""
    replaced = _say_replaced(space, result)
    write_result(result, findings)
    return replace(result, notes=(*result.notes, *replaced))


def _say_replaced(space: Workspace, result: AuditResult) -> tuple[str, ...]:
    """A note where this audit replaces one of another dataset, or one with options that this one lacks."""
    try:
        before = AuditSummary.parse(read_json(space.audit))
    except (HistodsError, ValueError):  # there is none, or it is damaged
        return ()
    if before.root != result.root.as_posix():
        note = (
            f"This replaces the audit of another dataset, {before.root}: what was made from that is out of date."
        )
        return (f"{note} Give each dataset a workspace of its own with -w.",)
    lost = options_left_out(before.command, result.command)
    if not lost:
        return ()
    return (
        f"The audit before had {', '.join(lost)}, this one has not. To repeat it: {before.command}{space.option}",
    )


def _write_labels(draft: Path | None, result: AuditResult, names: LabelTable | None) -> None:
    """Write the draft of a labels file, where one was asked for."""
    if draft is None:
        return
    words = shlex.split(result.command)
    if names is not None:  # the draft takes the place of the file that was given
        del words[words.index("--labels") : words.index("--labels") + 2]
    command = shlex.join(words)
    write_draft(draft, draft_labels(result.palette, result.labels, names, command), result.root)


def _with_groups(root: Path, dataset: Dataset, group_regex: str | None) -> pl.DataFrame:
    """The samples with their groups; a folder without any picture is most often not the one that was meant.

    Raises:
        HistodsError: there is no picture, or no key matches the expression.
    """
    if not dataset.samples.is_empty() or dataset.unlisted:
        return with_groups(dataset.samples, group_regex)
    others = ", ".join(f"{number:,} {name}" for name, number in sorted(dataset.other.items()))
    raise HistodsError(
        f"There are no images in {root}, only {others}; give the folder that holds the dataset."
        if others
        else f"There are no files in {root}; give the folder that holds the dataset."
    )


def _fingerprint(files: str, asked: Sequence[object]) -> str:
    """Digest of the dataset's files and of everything that was asked for."""
    return files + xxhash.xxh3_64_hexdigest(repr(asked).encode())


def _digest(file: str | Path | None) -> str | None:
    return file_digest(Path(file)) if file is not None and Path(file).is_file() else None


def _names(labels: LabelTable | None) -> dict[int, str]:
    """Names of labels; where colours are read, also of the label that stands for unknown ones."""
    if labels is None:
        return {}
    return (
        {OFF_PALETTE_LABEL: "(no label's colour)"} | dict(labels.names) if labels.colours else dict(labels.names)
    )


def _parse_root(root: str | Path) -> Path:
    folder = Path(root)
    if not folder.is_dir():
        if folder.exists():
            raise HistodsError(f"{root} is a file; give the folder that holds the dataset.")
        raise HistodsError(f"{root} does not exist; give the folder that holds the dataset.")
    check_finished(folder)
    return folder.resolve()


def _parse_workspace(workspace: str | Path | None) -> Workspace:
    space = Workspace.find(workspace)
    if space.folder.is_file():
        raise HistodsError(f"The workspace {space.folder} is a file; choose another with --workspace.")
    return space


def _parse_folders(folders: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One folder or several; a text is one folder, not a sequence of letters."""
    return (str(folders),) if isinstance(folders, str | Path) else tuple(map(str, folders))


def _absolute(folder: str | Path) -> str:
    """An unconditional folder for a command that is run elsewhere; one below the root is named from there."""
    return str(Path(folder).absolute() if Path(folder).is_dir() else folder)


def _parse_verify(verify: str) -> str:
    if verify not in ("structure", "decode"):
        raise HistodsError(f"--verify cannot be {verify!r}; choose structure or decode.")
    return verify


def _with_folders(findings: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Add what is no sample's: links out of the root (most often to a folder), folders that cannot be listed."""
    rows = [
        {
            "key": path,
            "path": path,
            "code": "outside_root",
            "severity": "warning",
            "message": f"a link to {target}, outside the dataset, was not followed; copy what it points to",
        }
        for path, target in dataset.outside.items()
    ]
    rows += [
        {
            "key": f"{path}/",  # no sample's: a key never ends so
            "path": path,
            "code": "unreadable_image",
            "severity": "error",
            "message": f"the folder cannot be listed: {reason}; make it readable, or move it out of the dataset",
        }
        for path, reason in dataset.unlisted.items()
    ]
    if not rows:
        return findings
    return pl.concat([findings, pl.DataFrame(rows, schema=findings.schema)]).sort("key", "path", "code")


def _tally(findings: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(findings.group_by(column).len().sort(column).iter_rows())


def _manifest(
    rows: pl.DataFrame, layout: Layout, options: MeasureOptions, beside: Sequence[str], workspace: Path
) -> Manifest:
    columns = rows.with_columns(
        width=pl.coalesce("image_width", "mask_width"), height=pl.coalesce("image_height", "mask_height")
    )
    table = columns.select(MANIFEST.names).to_arrow().cast(MANIFEST)
    provenance = {
        "histods_version": __version__,
        "layout": json.dumps(asdict(layout), sort_keys=True),
        "images_measured": options.images_how,
        "masks_measured": options.masks_how,
        **({BESIDE: json.dumps(sorted(beside))} if beside else {}),
    }
    return Manifest(table, provenance, workspace)
