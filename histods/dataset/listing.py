"""List the files of a dataset, as samples and as files to measure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import xxhash

from histods.dataset.layouts import (
    Choice,
    Layout,
    Pairing,
    Suggestion,
    choose_layout,
    pair,
    pair_rows,
    suggest,
    with_unread_labels,
)
from histods.dataset.pairs_csv import read_pairs
from histods.dataset.scan import Listing, ask_states, scan
from histods.errors import HistodsError
from histods.masks.looks_of_files import look_at_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.masks.looks import Look


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutOptions:
    """The user's options for pairing images and masks; `kind` None means automatic detection."""

    kind: str | None
    mask_suffix: str
    images_dir: str
    masks_dir: str
    image_pattern: str | None
    mask_pattern: str | None
    pairs: str | Path | None
    unconditional: Sequence[str | Path]
    allow_unpaired: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The files of a dataset and of its unconditional folders.

    Attributes:
        listing: all of them.
        unconditional: the paths of the files in unconditional folders.
        beside: the unconditional folders outside the dataset's folder, relative to it.
    """

    listing: Listing
    unconditional: list[str]
    beside: list[str]

    def fingerprint(self, root: Path, measured: pl.DataFrame | None = None) -> str:
        """Digest of all names, sizes and times, independent of order; equal if the dataset has not changed.

        Args:
            root: the dataset's folder.
            measured: path, bytes and mtime_ns of files, if the listing was made without them.
        """
        table = pl.DataFrame(
            {"path": self.listing.paths, "bytes": self.listing.sizes, "mtime_ns": self.listing.mtimes},
            schema_overrides={"path": pl.String},
        )
        if measured is not None:
            states = measured.select("path", "bytes", "mtime_ns").unique("path")
            known = table.select("path").join(states, on="path", how="inner")
            rest = table.join(states, on="path", how="anti")
            unsafe = self.listing.problems.keys() | self.listing.outside.keys()
            sizes, mtimes = ask_states(root, rest["path"].to_list(), unsafe=unsafe)
            rest = rest.with_columns(bytes=pl.Series(sizes), mtime_ns=pl.Series(mtimes))
            table = pl.concat([known, rest])
        reasons = (self.listing.problems, self.listing.outside, self.listing.unlisted)
        others = repr(([sorted(reason.items()) for reason in reasons], self.listing.own))
        return xxhash.xxh3_64_hexdigest(f"{table.hash_rows().sum()} {len(table)} {others}".encode())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """A dataset, as far as the names of its files tell.

    Attributes:
        layout: the given or detected layout.
        samples: one row per sample: the columns of `Pairing.samples`, and group, image_outside, mask_outside.
        files: one row per file to measure: path, is_mask, bytes, mtime_ns, problem, and look: whether its
            pixels must show that it is an image.
        other: number of files that are not pictures, by suffix; also folders that histods wrote, by path.
        suggestions: patterns that would pair more, if several are equally good or few files pair; best first.
        hidden: number of hidden files and folders (a leading dot), which are skipped.
        outside: links that leave the root and are not part of a sample -> their targets.
        unlisted: folders that cannot be listed -> why.
    """

    layout: Layout
    samples: pl.DataFrame
    files: pl.DataFrame
    other: dict[str, int]
    suggestions: tuple[Suggestion, ...]
    hidden: int
    outside: dict[str, str]
    unlisted: dict[str, str]


def list_files(root: Path, options: LayoutOptions, *, states: bool = True) -> Files:
    """List the files below `root` and in the unconditional folders.

    Args:
        root: the dataset's folder.
        options: how its images and masks pair.
        states: read sizes and times; see `scan`.

    Raises:
        HistodsError: one of these folders does not exist or cannot be listed.
    """
    listing = scan(root, states=states)
    designed = _scan_unconditional(options.unconditional, root, states=states)
    beside = [prefix.removesuffix("/") for prefix, _ in designed if prefix.startswith("../")]
    return Files(*_merge(listing, designed), beside)


def pair_files(root: Path, options: LayoutOptions, files: Files) -> Dataset:
    """Pair the listed files.

    Raises:
        HistodsError: the options contradict each other, or the file of pairs is wrong.
    """
    listing, unconditional = files.listing, files.unconditional
    look = _Looks(root, listing)
    choice = _choose_layout(listing.paths, options, unconditional, look)
    layout = choice.layout
    paired = _pair(listing, layout, unconditional, options, root)
    in_samples = set(paired.samples["image_path"]) | set(paired.samples["mask_path"]) if listing.outside else set()
    return Dataset(
        layout=layout,
        samples=paired.samples,
        files=_list_files(paired.samples, listing),
        other=paired.other | {f"{path}/ (written by histods)": 1 for path in listing.own},
        suggestions=choice.suggestions if _is_free(options) else suggest(listing.paths, paired, look),
        hidden=listing.hidden,
        outside={path: target for path, target in sorted(listing.outside.items()) if path not in in_samples},
        unlisted=dict(sorted(listing.unlisted.items())),
    )


class _Looks:
    """Tells whether a picture of the dataset looks like a photograph or a mask; each is read once."""

    def __init__(self, root: Path, listing: Listing) -> None:
        self.root = root
        self.unsafe = listing.problems.keys() | listing.outside.keys()
        self.known: dict[str, Literal["photograph", "mask"] | None] = {}

    def __call__(self, path: str) -> Literal["photograph", "mask"] | None:
        if path not in self.known:
            self.known[path] = None if path in self.unsafe else _name_look(look_at_file(self.root / path))
        return self.known[path]


def _name_look(look: Look | None) -> Literal["photograph", "mask"] | None:
    """What a picture looks like; None if it cannot be read, or is neither."""
    if look is None or not (look.is_mask or look.is_photograph):
        return None
    return "mask" if look.is_mask else "photograph"


def _is_free(options: LayoutOptions) -> bool:
    """Whether the layout is to be detected automatically."""
    return not (options.kind or options.pairs or options.image_pattern or options.mask_pattern)


def _choose_layout(
    paths: Sequence[str], options: LayoutOptions, unconditional: Sequence[str], look: _Looks
) -> Choice:
    """Use the requested layout or the one that the options imply, or detect it."""
    kind = options.kind
    if kind is None and options.pairs is not None:
        kind = "csv"
    if kind is None and (options.image_pattern or options.mask_pattern):
        kind = "pattern"
    if kind is None:
        return choose_layout(
            paths,
            mask_suffix=options.mask_suffix,
            images_dir=options.images_dir,
            masks_dir=options.masks_dir,
            unconditional=unconditional,
            look=look,
        )
    if kind not in ("suffix", "folders", "pattern", "csv"):
        raise HistodsError(f"There is no layout {kind!r}; choose suffix, folders, pattern or csv.")
    if (kind == "csv") != (options.pairs is not None):
        found = "no --pairs" if kind == "csv" else f"--pairs with --layout {kind}"
        raise HistodsError(
            f"--pairs FILE and --layout csv go together, but there is {found}; give both or neither."
        )
    if kind != "pattern" and (options.image_pattern or options.mask_pattern):
        found = "--pairs" if kind == "csv" else f"--layout {kind}"
        raise HistodsError(f"--image-pattern and --mask-pattern do not go together with {found}; omit one.")
    layout = Layout(
        kind=kind,  # type: ignore[arg-type]  # one of the four, checked above
        mask_suffix=options.mask_suffix,
        images_dir=options.images_dir,
        masks_dir=options.masks_dir,
        image_pattern=options.image_pattern,
        mask_pattern=options.mask_pattern,
    )
    return Choice(layout=layout)


def unconditional_folders(folders: Sequence[str | Path], root: Path) -> list[Path]:
    """Resolve the folders of images without masks, each as given or else below the root.

    Raises:
        HistodsError: one does not exist.
    """
    found = []
    for given in folders:
        folder = next((path for path in (Path(given), root / given) if path.is_dir()), None)
        if folder is None:
            raise HistodsError(
                f"--unconditional {given} does not exist; give a path that exists, or one below {root}."
            )
        found.append(folder.resolve())
    return found


def _scan_unconditional(folders: Sequence[str | Path], root: Path, *, states: bool) -> list[tuple[str, Listing]]:
    """List the folders of images without masks, each with the prefix that makes its paths relative to the root."""
    listings = []
    for folder in unconditional_folders(folders, root):
        prefix = Path(os.path.relpath(folder, root)).as_posix()
        listing = scan(folder, states=states)
        listings.append(("" if prefix == "." else prefix + "/", listing))
    return listings


def _merge(listing: Listing, designed: list[tuple[str, Listing]]) -> tuple[Listing, list[str]]:
    """One listing of the dataset and its unconditional folders, and the paths of the latter."""
    known = set(listing.paths) if designed else set()
    paths, unconditional = list(listing.paths), []
    sizes, mtimes = [listing.sizes], [listing.mtimes]
    problems, outside, unlisted = dict(listing.problems), dict(listing.outside), dict(listing.unlisted)
    own = set(listing.own)
    for prefix, files in designed:
        here = [prefix + path for path in files.paths]
        unconditional += here
        new = [place for place, path in enumerate(here) if path not in known]
        known.update(here)
        paths += [here[place] for place in new]
        sizes.append(files.sizes[new])
        mtimes.append(files.mtimes[new])
        problems |= {prefix + path: reason for path, reason in files.problems.items()}
        outside |= {prefix + path: target for path, target in files.outside.items()}
        unlisted |= {prefix + path: reason for path, reason in files.unlisted.items()}
        own.update(prefix + path for path in files.own)
    states = np.concatenate(sizes), np.concatenate(mtimes)
    return Listing(paths, *states, problems, outside, unlisted, sorted(own), listing.hidden), unconditional


def _pair(
    listing: Listing, layout: Layout, unconditional: list[str], options: LayoutOptions, root: Path
) -> Pairing:
    """Pair the listed files; adds `group`, `unread_labels`, `image_outside` and `mask_outside`."""
    if layout.kind == "csv":
        assert options.pairs is not None  # noqa: S101 - _choose_layout saw to it
        rows = read_pairs(Path(options.pairs), root)
        paired = pair_rows(rows, listing.paths, unconditional)
        groups = rows.select(pl.col("image").alias("image_path"), "group")
        samples = paired.samples.join(groups, on="image_path", how="left", maintain_order="left")
    else:
        paired = pair(listing.paths, layout, unconditional)
        samples = paired.samples.with_columns(group=pl.lit(None, pl.String))
    if options.allow_unpaired:
        alone = pl.col("image_path").is_not_null() & pl.col("mask_path").is_null() & ~pl.col("outside")
        samples = samples.with_columns(by_design=pl.col("by_design") | alone)
    samples = with_unread_labels(samples, listing.paths)
    links = pl.Series(sorted(listing.outside), dtype=pl.String).implode()
    return Pairing(
        samples.with_columns(
            image_outside=pl.col("image_path").is_in(links).fill_null(value=False),
            mask_outside=pl.col("mask_path").is_in(links).fill_null(value=False),
        ),
        paired.other,
    )


def _list_files(samples: pl.DataFrame, listing: Listing) -> pl.DataFrame:
    """One row per file to measure: path, is_mask, bytes, mtime_ns, problem, look."""
    listed = pl.DataFrame(
        {"path": listing.paths, "bytes": listing.sizes, "mtime_ns": listing.mtimes},
        schema_overrides={"path": pl.String},
    )
    is_alone = pl.col("mask_path").is_null() & ~pl.col("outside")
    images = samples.filter(~pl.col("image_outside")).select(
        path="image_path", is_mask=pl.lit(value=False), look=is_alone
    )
    masks = samples.filter(~pl.col("mask_outside")).select(
        path="mask_path", is_mask=pl.lit(value=True), look=pl.lit(value=False)
    )
    named = pl.concat([images, masks]).drop_nulls("path").unique(["path", "is_mask"], maintain_order=True)
    named = named.join(listed, on="path", how="left", maintain_order="left")
    absent = named.filter(pl.col("bytes").is_null())["path"]  # only a file of pairs can name a missing file
    reasons = {path: _why_absent(path, listing) for path in absent} | listing.problems
    problems = pl.DataFrame(
        {"path": list(reasons), "problem": list(reasons.values())},
        schema={"path": pl.String, "problem": pl.String},
    )
    return named.join(problems, on="path", how="left", maintain_order="left").with_columns(
        pl.col("bytes", "mtime_ns").fill_null(0)
    )


def _why_absent(path: str, listing: Listing) -> str:
    """Why a file named in the file of pairs was not listed."""
    if any(part.startswith(".") for part in path.split("/")):
        return "hidden files and folders (a leading dot) are skipped, although the pairs file names this one"
    if folder := next((folder for folder in listing.unlisted if path.startswith(folder + "/")), None):
        return f"its folder {folder} cannot be listed: {listing.unlisted[folder]}"
    if folder := next((folder for folder in listing.own if path.startswith(folder + "/")), None):
        return f"in {folder} histods wrote it or there is no such file, although the pairs file names it"
    return "there is no such file, although the pairs file names it"
