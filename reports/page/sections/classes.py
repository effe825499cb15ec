"""Labels and classes: pixels, images, groups, what occurs together, pictures; and label maps side by side."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl

from histods.classes.class_system import list_label_maps, read_kept_map
from histods.dataset.manifest import read_table, to_polars
from histods.errors import HistodsError
from histods.palette import class_fill
from histods.printing import escaped
from reports.class_table import COUNTED_LIMIT, DRAWN_LIMIT, RAW, largest
from reports.page.fills import paint_class
from reports.page.section import Content, Missing, Section
from reports.page.sections.class_comparison import class_of, compare

if TYPE_CHECKING:
    from histods.labels.label_map import LabelMap
    from reports.class_table import ClassSystem
    from reports.page.pictures import Pictures
    from reports.page.source import Source

PER_CLASS = 4
"""Pictures of the samples with the largest, and with the smallest share of a class."""
OTHERS = -1
MAX_ROWS = 1000
"""Rows of a table, of the classes with most pixels."""
MAX_GROUPS = 40
_LOOKED_AT = 40
"""Samples of which those with different masks are chosen."""
_AFTER_FINDINGS = 4
"""Rank of the first picture of a class: the first four of each code come before it."""
_LABELS_LATER = 6
"""Pictures of labels come after those of classes where there are label maps."""


def build(source: Source, pictures: Pictures) -> Content:
    """Read the labels and every class system, each as far as it can be read."""
    used = source.used
    if used is None:
        command = source.audit_command
        return Content(missing=Missing(reason="There are no labels that can be read.", command=command))
    problems: list[str] = []
    systems = list(_read_systems(source, problems))
    if not systems:
        reason = problems.pop(0) if problems else "There is no mask in use."
        return Content(missing=Missing(reason=reason), problems=tuple(problems))
    maps = _read_maps(source, problems)
    shown_systems = []
    for system in systems:
        rows = _class_rows(system, source, used)
        late = _LABELS_LATER if system.name == RAW and len(systems) > 1 else 0
        shown_systems.append(
            _describe(system)
            | {
                "groups": _groups(rows, used, system),
                "gallery": _gallery(rows, used, system, pictures, _AFTER_FINDINGS + late),
            }
        )
    command = f"histods remap --map MAP{source.space.option}"
    return Content(
        values={
            "systems": shown_systems,
            "maps": _side_by_side(maps, systems[0], source) if maps else None,
            "comparisons": _compare(maps, systems[0]),
            "command": command if not maps else None,
        },
        data={"systems": shown_systems},
        problems=tuple(problems),
    )


def _read_systems(source: Source, problems: list[str]) -> list[ClassSystem]:
    """The labels, and the class systems made from this manifest."""
    systems = []
    for name in (None, *source.space.class_systems()):
        try:
            system = source.class_system(name)
        except (HistodsError, KeyError, TypeError, ValueError) as error:
            problems.append(str(error))
        else:
            systems += [] if system is None else [system]
    return systems


def _read_maps(source: Source, problems: list[str]) -> list[LabelMap]:
    maps = []
    for name in list_label_maps(source.space):
        try:
            maps.append(read_kept_map(source.space, name))
        except HistodsError as error:
            problems.append(str(error))
    return maps


def _describe(system: ClassSystem) -> dict[str, Any]:
    """Totals of each class, and the classes that occur together."""
    drawn = system.drawn
    place = {row.index: number for number, row in enumerate(system.counted)}
    together = system.together
    matrix = []
    if together is not None and len(drawn) <= min(DRAWN_LIMIT, COUNTED_LIMIT):
        places = [place[row.index] for row in drawn]
        matrix = together[places][:, places].tolist()
    return {
        "name": escaped(system.name),
        "noun": system.noun,
        "total": len(system.classes),
        "note": _note(system),
        "classes": [
            {
                "index": row.index,
                "name": escaped(row.name),
                **paint_class(row.index),
                "pixels": row.pixels,
                "percent": row.percent,
                "images": row.images,
            }
            for row in largest(system.classes, MAX_ROWS)
        ],
        "drawn": [row.index for row in drawn],
        "together": matrix,
    }


def _note(system: ClassSystem) -> str:
    """What the charts leave out, and where colours or even hatches repeat."""
    drawn = system.drawn
    notes = [system.say_drawn(len(drawn))] if len(drawn) < len(system.classes) else []
    fills = [class_fill(row.index) for row in drawn]
    if len(set(fills)) < len(fills):
        notes.append("Colours and hatches repeat; the numbers tell classes apart")
    elif len({fill.face for fill in fills}) < len(fills):
        notes.append("Colours repeat; hatches tell classes of one colour apart")
    return ". ".join(notes)


def _class_rows(system: ClassSystem, source: Source, used: pl.DataFrame) -> pl.DataFrame:
    """The classes of each mask, one row per class: the `place` of the sample in `used`, class, pixels, share."""
    places = used.select("key", place=pl.int_range(pl.len(), dtype=pl.UInt32))
    if system.name == RAW:
        table = used.select("key", "pixels", classes="labels")
    else:
        table = to_polars(read_table(source.space.remap_table(system.name), ["key", "classes", "pixels"]))
    lists = table.drop_nulls("classes").join(places, on="key").sort("place")
    totals = pl.col("pixels").cast(pl.List(pl.Int64)).list.sum()
    rows = lists.select("place", "classes", "pixels", total=totals).explode(
        "classes", "pixels", empty_as_null=False
    )
    return rows.select(
        "place",
        pl.col("classes").cast(pl.Int64),
        pl.col("pixels").cast(pl.Int64),
        share=pl.col("pixels") / pl.col("total"),
    )


def _groups(rows: pl.DataFrame, used: pl.DataFrame, system: ClassSystem) -> dict[str, Any] | None:
    """Pixels of each class in each group, the groups with most pixels; None without groups.

    Classes that charts do not show are one, `OTHERS`.
    """
    drawn = [row.index for row in system.drawn]
    rows = rows.with_columns(classes=pl.when(pl.col("classes").is_in(drawn)).then("classes").otherwise(OTHERS))
    groups = used.select("group", place=pl.int_range(pl.len(), dtype=pl.UInt32)).drop_nulls("group")
    sums = rows.join(groups.with_columns(code=pl.col("group").rank("dense")), on="place")
    counts = sums.group_by("code", "classes").agg(pl.col("group").first(), pl.col("pixels").sum())
    if not len(counts):
        return None
    totals = counts.group_by("group").agg(pl.col("pixels").sum())
    first = totals.sort("pixels", "group", descending=[True, False]).head(MAX_GROUPS)["group"].sort()
    mixes: dict[str, dict[int, int]] = {name: {} for name in first.to_list()}
    kept = counts.filter(pl.col("group").is_in(first.implode())).select("group", "classes", "pixels")
    for group, index, pixels in kept.iter_rows():
        mixes[group][index] = pixels
    return {
        "total": len(totals),
        "rows": [{"name": escaped(name), "parts": sorted(mix.items())} for name, mix in mixes.items()],
    }


def _gallery(
    rows: pl.DataFrame, used: pl.DataFrame, system: ClassSystem, pictures: Pictures, rank: int
) -> list[dict[str, Any]]:
    """The samples that hold most of a class, and those that hold least of it; equal masks once."""
    galleries = []
    drawn = [row.index for row in system.drawn]
    ordered = rows.filter((pl.col("pixels") > 0) & pl.col("classes").is_in(drawn)).sort(
        "share", "place", descending=[True, False]
    )
    clear = _first_of_each(ordered, used, {})
    doubtful = _first_of_each(ordered.sort("share", "place"), used, clear)
    for row in system.drawn:
        if row.index not in clear:
            continue
        kinds = (("clear", clear[row.index]), ("doubtful", doubtful[row.index]))
        cards = {
            kind: [_card(one, pictures, rank + at) for at, one in enumerate(listed)] for kind, listed in kinds
        }
        galleries.append({"index": row.index} | cards)
    return galleries


def _first_of_each(
    ordered: pl.DataFrame, used: pl.DataFrame, known: dict[int, list[dict[str, Any]]]
) -> dict[int, list[dict[str, Any]]]:
    """The first samples of each class that have different masks, and none that is known."""
    first = ordered.group_by("classes", maintain_order=True).head(_LOOKED_AT)
    files = used[first["place"].to_list()].select(
        "key", "image_path", "mask_path", "mask_digest", "group", "width", "height"
    )
    found: dict[int, list[dict[str, Any]]] = {}
    seen: dict[int, set[str]] = {index: {_same(row) for row in listed} for index, listed in known.items()}
    for row in pl.concat([first, files], how="horizontal").iter_rows(named=True):
        listed, masks = found.setdefault(row["classes"], []), seen.setdefault(row["classes"], set())
        if len(listed) < PER_CLASS and _same(row) not in masks:
            listed.append(row)
            masks.add(_same(row))
    return found


def _same(row: dict[str, Any]) -> str:
    """What equal masks have in common."""
    return str(row["mask_digest"] or row["key"])


def _card(row: dict[str, Any], pictures: Pictures, rank: int) -> dict[str, Any]:
    pixels = (row["width"] or 0) * (row["height"] or 0)
    return {
        "path": escaped(row["image_path"] or row["key"]),
        "key": escaped(row["key"]),
        "group": None if row["group"] is None else escaped(row["group"]),
        "share": row["share"],
        "picture": pictures.ask(row["image_path"], row["mask_path"], pixels, rank),
    }


def _compare(maps: list[LabelMap], labels: ClassSystem) -> list[dict[str, Any]]:
    pixels = {row.index: row.pixels for row in labels.classes}
    found = [compare(one, other, pixels) for one, other in combinations(maps, 2)]
    return [{"text": escaped(one.text), "agrees": not one.apart} for one in found]


def _side_by_side(maps: list[LabelMap], labels: ClassSystem, source: Source) -> dict[str, Any]:
    """The class of each label in each map; labels on which two maps disagree are marked."""
    pixels = {row.index: row.pixels for row in labels.classes}
    apart = {label for one, other in combinations(maps, 2) for label in compare(one, other, pixels).apart}
    rows = []
    for label in sorted({*pixels, *apart}, key=lambda label: (label not in apart, label))[:MAX_ROWS]:
        classes = [class_of(one, label) for one in maps]
        rows.append(
            {
                "label": label,
                "name": escaped(source.names.name(label)),
                "pixels": pixels.get(label, 0),
                "apart": label in apart,
                "classes": [
                    None
                    if index is None
                    else {"index": index, "name": escaped(one.classes[index]), **paint_class(index)}
                    for one, index in zip(maps, classes, strict=True)
                ],
            }
        )
    return {"names": [escaped(one.name) for one in maps], "rows": rows}


SECTION = Section(name="classes", title="Labels and classes", build=build)
