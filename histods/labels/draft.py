"""Draft a labels file from the colours of masks: which colours are classes, their order, and the YAML.

Label maps are drafted from the labels that occur.

Smoothed edges, enlargement and JPEG add colours between the intended ones. Over all masks together, three things
identify them: they lie between their neighbours' colours, they are in short runs next to a far more frequent
colour, or they are very rare. The draft lists omitted colours, so that a thin class that looks like a blend is not
lost.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from histods.colours.colour_counts import TRANSLUCENT, unpack
from histods.labels.label_map import MAX_CLASSES
from histods.labels.parse_values import is_range
from histods.records import ColourCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from histods.labels.label_map import LabelTable
    from histods.records import LabelCount

MAX_LISTED = 256  # colours of a dataset
_MAX_JUDGED = 4096
_COVERED = 0.2  # share of a mask's pixels with the colours kept for it; a picture has too many colours
_PICTURE_ENTRIES = 32  # of a palette that is not labels
_NEAR, _FAR_RARER, _NOISY_RARER = 24, 20, 3  # channel values, and times
_THIN, _RARE_RUN, _RARE = 3.0, 2.0, 1e-4  # mean runs in pixels, and a share of all pixels
_NOISY_SHARE, _NOISY_RARE = 0.1, 2e-3  # share of masks with more colours than are kept; share of all pixels
_BLACK, _WHITE = 0, 0xFFFFFF
_GROUND_SHARE = 0.1  # of the most frequent colour's border pixels: enough for black or white to be the background
_MAX_EXAMPLES = 8
_RESERVED = {"name", "unmapped", "map", "classes", "labels", "class_to_int"}  # keys of label maps
_MAX_ALIGNED = 60  # characters before a comment
_UNKNOWN_COLOUR = 65535  # label of pixels whose colour no label has


class _Colour(NamedTuple):
    """One colour over all masks; see `ColourCounts`."""

    colour: int
    pixels: int
    runs: int
    border: int
    blended: int
    masks: int
    indices: list[int]


def list_colours(samples: pl.DataFrame, names: LabelTable | None) -> tuple[ColourCount, ...]:
    """List the colours of colour and palette masks, most frequent first, with their existing or new labels.

    Labels come from the labels file, else from the palettes if all of them agree, else from the order: the
    background first, then by number of pixels. Colours that are not classes have none.

    Args:
        samples: one row per sample, with the measured columns of its mask.
        names: the labels file, if there is one.
    """
    masks = (
        samples.filter(pl.col("colours").is_not_null())
        .filter(
            pl.when(pl.col("mask_kind") == "palette")
            .then(pl.col("mask_not_index").is_null() | (pl.col("colours_total") <= _PICTURE_ENTRIES))
            .otherwise(
                pl.col("colours").list.eval(pl.element().struct.field("pixels")).list.sum()
                >= _COVERED * (pl.col("mask_width").cast(pl.Int64) * pl.col("mask_height"))
            )
        )
        .unique("mask_path")
    )
    if masks.is_empty():
        return ()
    total = int(masks.select((pl.col("mask_width").cast(pl.Int64) * pl.col("mask_height")).sum()).item())
    entries = masks.select("colours", "mask_path").explode("colours").unnest("colours")
    tally = (
        entries.filter(pl.col("colour") != TRANSLUCENT)
        .group_by("colour")
        .agg(
            *(pl.col(name).cast(pl.Int64).sum() for name in ("pixels", "runs", "border", "blended")),
            pl.col("mask_path").n_unique().alias("masks"),
            pl.col("index").drop_nulls().unique().sort().alias("indices"),
        )
        .sort("pixels", "colour", descending=[True, False])
        .head(_MAX_JUDGED)
    )
    colours = [_Colour(*row) for row in tally.iter_rows()]
    noisy = int((masks["colours_total"] > masks["colours"].list.len()).sum()) > _NOISY_SHARE * len(masks)
    known = {red << 16 | green << 8 | blue: label for label, (red, green, blue) in _colours(names).items()}
    labels = _assign(colours, _proven(colours, total, noisy=noisy), known)
    ordered = sorted(colours, key=lambda each: (each.colour not in labels, -each.pixels))[:MAX_LISTED]
    return tuple(
        ColourCount(
            colour=f"#{each.colour:06x}",
            pixels=each.pixels,
            percent=100 * each.pixels / total,
            masks=each.masks,
            label=labels.get(each.colour),
        )
        for each in sorted(ordered, key=lambda each: (-each.pixels, each.colour))
    )


def _colours(names: LabelTable | None) -> Mapping[int, tuple[int, int, int]]:
    return {} if names is None else names.colours


def _proven(colours: Sequence[_Colour], total: int, *, noisy: bool) -> list[_Colour]:
    """The colours that are classes, most frequent first; `noisy` masks have many other colours, as after JPEG."""
    proven: list[_Colour] = []
    points = np.empty((0, 3), dtype=np.int64)
    rarer = _NOISY_RARER if noisy else _FAR_RARER
    for each in colours:
        point = unpack(np.array([each.colour]))
        close = np.abs(points - point).max(axis=1) <= _NEAR if len(points) else np.empty(0, dtype=bool)
        frequent = np.array([rarer * each.pixels < other.pixels for other in proven], dtype=bool)
        run = each.pixels / each.runs
        blend = 2 * each.blended >= each.pixels
        beside = bool((close & frequent).any()) and (noisy or run < _THIN)
        rare = each.pixels < (_NOISY_RARE if noisy else _RARE) * total and (noisy or run < _RARE_RUN)
        if not (blend or beside or rare):
            proven.append(each)
            points = np.concatenate([points, point])
    return proven


def _assign(colours: Sequence[_Colour], proven: Sequence[_Colour], known: Mapping[int, int]) -> dict[int, int]:
    """Colour -> label; see `list_colours`."""
    labels = {each.colour: known[each.colour] for each in colours if each.colour in known}
    indices = [index for each in colours for index in each.indices]
    agree = len(indices) == len(set(indices)) and all(len(each.indices) <= 1 for each in colours)
    taken = set(known.values())
    if agree:
        for each in colours:
            if each.indices and each.colour not in labels and each.indices[0] not in taken:
                labels[each.colour] = each.indices[0]
    taken |= set(labels.values())
    rest = [each for each in proven if each.colour not in labels]
    if rest and 0 not in taken:
        ground = _ground(rest)
        rest = [ground, *(each for each in rest if each is not ground)]
    free = (label for label in range(65535) if label not in taken)
    return labels | {each.colour: label for each, label in zip(rest, free, strict=False)}


def _ground(colours: Sequence[_Colour]) -> _Colour:
    """The background: black or white if it is at the borders of masks, else the most frequent border colour."""
    first = max(colours, key=lambda each: (each.border, each.pixels))
    plain = [each for each in colours if each.colour in (_BLACK, _WHITE)]
    best = max(plain, key=lambda each: (each.border, each.pixels), default=first)
    return best if best.border >= _GROUND_SHARE * first.border else first


def draft_labels(
    palette: Sequence[ColourCount], labels: Sequence[LabelCount], names: LabelTable | None, command: str
) -> str | None:
    """Draft a labels file to edit; None if no mask has colours or labels.

    Args:
        palette: the colours from `list_colours`.
        labels: the labels without a colour that masks hold.
        names: the labels file of the audit, whose names are kept.
        command: the command that audits the dataset without a labels file.
    """
    coloured = {each.label: each for each in palette if each.label is not None}
    given = dict(names.names) if names else {}
    known = _colours(names)
    counted = {each.label: each for each in labels if each.label != 65535}
    lines = []
    for label in sorted({*coloured, *given, *counted}):
        name = given.get(label, "background" if label == 0 else f"class {label}")
        fields, share = f"name: {json.dumps(name, ensure_ascii=False)}", ""
        if label in coloured:
            colour = coloured[label]
            fields += f', colour: "{colour.colour}"'
            share = f"  # {colour.percent:.4g} % of the pixels, masks: {colour.masks:,}"
        elif label in known:
            fields += ', colour: "#{:02x}{:02x}{:02x}"'.format(*known[label])
        lines.append(f"  {label}: {{{fields}}}{share}")
    if not lines:
        return None
    head = [
        "# Draft of a labels file. Correct names and order, remove what is no class, and audit again:",
        f"# {command} --labels FILE",
        "labels:",
    ]
    return "\n".join([*head, *lines, *_left_out(palette)]) + "\n"


def _left_out(palette: Sequence[ColourCount]) -> list[str]:
    """Comments on the colours that are not classes."""
    rest = [each for each in palette if each.label is None]
    if not rest:
        return []
    listed = ", ".join(f"{each.colour} ({each.percent:.3g} %)" for each in rest[:_MAX_EXAMPLES])
    more = ", ..." if len(rest) > _MAX_EXAMPLES else ""
    share = sum(each.percent for each in rest)
    return [
        f"# Left out, as smooth edges and JPEG leave them: {len(rest):,} colours, {share:.3g} % of the pixels:",
        f"# {listed}{more}",
        "# Add a line for each that is a class; the others are counted as off_palette.",
    ]


def draft_map(labels: Sequence[LabelCount], name: str) -> str:
    """Draft a label map to edit, in which each label that occurs is a separate class.

    Each class is one line, so classes can be merged by moving numbers. Class 0 holds label 0, pixels of unknown
    colours, and the rarest labels if there are more than fit 8 bits.

    Args:
        labels: the labels that occur, ascending.
        name: name of the class system.
    """
    counted = {each.label: each for each in labels}
    ranked = sorted(labels, key=lambda each: (-each.pixels, each.label))
    own = [each.label for each in ranked if each.label not in (0, _UNKNOWN_COLOUR)][: MAX_CLASSES - 1]
    first = [0, *(each.label for each in labels if each.label not in (0, *own))]
    names = {label: counted[label].name if label in counted else "Unknown" for label in (0, *own)}
    times = Counter(name.casefold() for name in names.values())
    lines = []
    for label in (0, *sorted(own)):
        title = names[label]
        meant = title.casefold()
        if times[meant] > 1 or meant in _RESERVED or is_range(title) or (label and meant == "unknown"):
            title = f"{title} ({label})"
        members = first if label == 0 else [label]
        counts = [counted[member] for member in members if member in counted]
        pixels, percent = sum(each.pixels for each in counts), sum(each.percent for each in counts)
        masks = f", masks: {counts[0].images:,}" if len(counts) == 1 and counts[0].images else ""
        line = f"{json.dumps(title, ensure_ascii=not title.isprintable())}: [{', '.join(map(str, members))}]"
        lines.append((line, f"# {pixels:,} pixels, {percent:.4g} %{masks}"))
    width = min(max(len(line) for line, _ in lines), _MAX_ALIGNED)
    head = [
        "# Draft of a label map: each label is a class of its own, numbered in the order of the lines.",
        "# To merge classes, move labels into one list and delete the lines left over; rename as you like.",
        "# Class 0 comes first and means 'unknown': a mask of class 0 alone counts as no mask.",
        f"name: {json.dumps(name)}",
        "unmapped: error  # or the name of a class: what every label that is not listed becomes",
        "",
    ]
    return "\n".join([*head, *(f"{line:<{width}}  {comment}" for line, comment in lines)]) + "\n"
