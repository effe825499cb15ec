"""Labels and classes: pixels, images, groups, what occurs together, pictures; and label maps side by side."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl

from histods.classes.class_system import list_label_maps, read_kept_map
from histods.dataset.manifest import read_table, to_polars
from histods.errors import HistodsError
from histods.palette import class_fill
from reports.class_table import COUNTED_LIMIT, DRAWN_LIMIT, RAW, read_labels, read_remapped
from reports.page.class_comparison import class_of, compare
from reports.page.packing import shown
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from histods.labels.label_map import LabelMap
    from reports.class_table import ClassSystem
    from reports.page.pictures import Pictures
    from reports.page.source import Source

PER_CLASS = 4
"""Pictures of the clearest, and of the most doubtful samples of a class."""
MAX_GROUPS = 40
_AFTER_FINDINGS = 4
"""Rank of the first picture of a class: findings come first."""
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
            | {"groups": _groups(rows), "gallery": _gallery(rows, system, pictures, _AFTER_FINDINGS + late)}
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
    try:
        systems.append(read_labels(source.space, source.audit))
    except HistodsError as error:
        problems.append(str(error))
    for name in source.space.class_systems():
        try:
            system = read_remapped(source.space, name, source.digest)
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
        "name": shown(system.name),
        "noun": system.noun,
        "images": system.images,
        "pixels": system.pixels,
        "note": system.note,
        "classes": [
            {
                "index": row.index,
                "name": shown(row.name),
                "colour": class_fill(row.index).face,
                "pixels": row.pixels,
                "percent": row.percent,
                "images": row.images,
            }
            for row in system.classes
        ],
        "drawn": [row.index for row in drawn],
        "together": matrix,
    }


def _class_rows(system: ClassSystem, source: Source, used: pl.DataFrame) -> pl.DataFrame:
    """The classes of each mask, one row per class: key, class, pixels, share, and the sample's files and group."""
    files = used.select("key", "image_path", "mask_path", "group", "width", "height")
    if system.name == RAW:
        table = used.select("key", "pixels", classes="labels")
    else:
        table = to_polars(read_table(source.space.remap_table(system.name), ["key", "classes", "pixels"]))
    rows = table.drop_nulls("classes").explode("classes", "pixels", empty_as_null=False)
    rows = rows.select("key", pl.col("classes").cast(pl.Int64), pl.col("pixels").cast(pl.Int64))
    rows = rows.with_columns(share=pl.col("pixels") / pl.col("pixels").sum().over("key"))
    return rows.join(files, on="key", how="left", maintain_order="left")


def _groups(rows: pl.DataFrame) -> dict[str, Any] | None:
    """Pixels of each class in each group, the groups with most pixels; None without groups."""
    counts = rows.drop_nulls("group").group_by("group", "classes").agg(pl.col("pixels").sum())
    if not len(counts):
        return None
    totals = counts.group_by("group").agg(pl.col("pixels").sum())
    first = totals.sort("pixels", "group", descending=[True, False]).head(MAX_GROUPS)["group"].sort()
    mixes: dict[str, dict[int, int]] = {name: {} for name in first.to_list()}
    for group, index, pixels in counts.filter(pl.col("group").is_in(first.implode())).iter_rows():
        mixes[group][index] = pixels
    return {
        "total": len(totals),
        "rows": [{"name": shown(name), "parts": sorted(mix.items())} for name, mix in mixes.items()],
    }


def _gallery(rows: pl.DataFrame, system: ClassSystem, pictures: Pictures, rank: int) -> list[dict[str, Any]]:
    """The samples that hold most of a class, and those that hold least of it."""
    galleries = []
    ordered = rows.filter(pl.col("pixels") > 0).sort("share", "key", descending=[True, False])
    clear = _first_of_each(ordered)
    doubtful = _first_of_each(ordered.sort("share", "key"))
    for row in system.drawn:
        if row.index not in clear:
            continue
        known = {one["key"] for one in clear[row.index]}
        kinds = (("clear", clear[row.index]), ("doubtful", doubtful[row.index]))
        galleries.append(
            {"index": row.index}
            | {
                kind: [
                    _card(one, pictures, rank + place)
                    for place, one in enumerate(listed)
                    if kind == "clear" or one["key"] not in known
                ]
                for kind, listed in kinds
            }
        )
    return galleries


def _first_of_each(ordered: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in ordered.group_by("classes", maintain_order=True).head(PER_CLASS).iter_rows(named=True):
        found.setdefault(row["classes"], []).append(row)
    return found


def _card(row: dict[str, Any], pictures: Pictures, rank: int) -> dict[str, Any]:
    pixels = (row["width"] or 0) * (row["height"] or 0)
    return {
        "path": shown(row["image_path"] or row["key"]),
        "key": shown(row["key"]),
        "group": None if row["group"] is None else shown(row["group"]),
        "share": row["share"],
        "picture": pictures.ask(row["image_path"], row["mask_path"], pixels, rank),
    }


def _compare(maps: list[LabelMap], labels: ClassSystem) -> list[dict[str, Any]]:
    pixels = {row.index: row.pixels for row in labels.classes}
    found = [compare(one, other, pixels) for one, other in combinations(maps, 2)]
    return [{"text": shown(one.text), "agrees": not one.apart} for one in found]


def _side_by_side(maps: list[LabelMap], labels: ClassSystem, source: Source) -> dict[str, Any]:
    """The class of each label in each map; labels on which two maps disagree are marked."""
    pixels = {row.index: row.pixels for row in labels.classes}
    apart = {label for one, other in combinations(maps, 2) for label in compare(one, other, pixels).apart}
    rows = []
    for label in sorted({*pixels, *apart}):
        classes = [class_of(one, label) for one in maps]
        rows.append(
            {
                "label": label,
                "name": shown(source.names.name(label)),
                "pixels": pixels.get(label, 0),
                "apart": label in apart,
                "classes": [
                    None
                    if index is None
                    else {"index": index, "name": shown(one.classes[index]), "colour": class_fill(index).face}
                    for one, index in zip(maps, classes, strict=True)
                ],
            }
        )
    return {"names": [shown(one.name) for one in maps], "rows": rows}


SECTION = Section(name="classes", title="Labels and classes", build=build)
