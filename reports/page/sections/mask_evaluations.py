"""Evaluations of generated masks: each distance to real masks beside its floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histods.printing import counted, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from histods.io.mask_evaluation_file import MaskDistance, MaskEvaluationFile


def describe_masks(folder: Path, found: MaskEvaluationFile) -> dict[str, Any]:
    """What the template shows of one evaluation."""
    whole = (
        ("mean proportions of classes", found.mean_proportions),
        ("adjacency of classes", found.adjacency),
        ("strips between two other classes, per border", found.strips),
    )
    slides = counted(found.groups, "slide")
    return {
        "name": escaped(folder.name),
        "of": escaped(f"{found.run}, step {found.step:,}"),
        "facts": [
            ("generated masks", f"{found.generated:,}"),
            (
                "real masks",
                f"{found.real:,} of {slides} (the split {escaped(found.split)})",
            ),
            ("strips per border, generated", _number(found.generated_strips)),
            ("strips per border, real", _number(found.real_strips)),
        ],
        "distances": [(name, *_pair(one)) for name, one in whole],
        "classes": [
            (escaped(name), *_pair(one), *_pair(found.region_sizes[name]))
            for name, one in found.proportions.items()
            if name not in _absent(found)
        ],
        "remarks": list(_remarks(found)),
        "warnings": [escaped(line) for line in found.warnings],
    }


def _remarks(found: MaskEvaluationFile) -> Iterator[str]:
    """Why a distance or a floor is missing."""
    if found.groups < 2:
        yield "The real masks are of one slide, so they have no halves without a slide in common to compare with."
    if found.adjacency.distance is None:
        yield "Adjacency and strips: either the real or the generated masks have no borders between classes."
    absent = _absent(found)
    one_sided = [
        escaped(name) for name, one in found.region_sizes.items() if one.distance is None and name not in absent
    ]
    if one_sided:
        yield f"No sizes to compare: only real or only generated masks have {', '.join(one_sided)}."
    if absent:
        yield f"Neither real nor generated masks have {', '.join(map(escaped, sorted(absent)))}."


def _absent(found: MaskEvaluationFile) -> set[str]:
    """Classes that neither the real nor the generated masks have."""
    return {
        name
        for name, one in found.proportions.items()
        if not one.distance and found.region_sizes[name].distance is None
    }


def _pair(one: MaskDistance) -> tuple[str, str]:
    return _number(one.distance), _number(one.floor)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
