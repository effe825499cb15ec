"""Colours of classes and splits on the page: a colour, and a hatch where colours repeat, as in the charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from histods.palette import HATCHES, class_fill, luminance

if TYPE_CHECKING:
    from histods.palette import Fill

_PATTERNS = dict(zip(HATCHES, ("", "slash", "bar"), strict=True))


class Paint(TypedDict):
    """How something is painted.

    Attributes:
        colour: `#rrggbb`.
        hatch: one of the patterns of `page.html.j2`, `slash` or `bar`, `-dark` or `-light`; "" for none.
    """

    colour: str
    hatch: str


def paint(fill: Fill) -> Paint:
    """A fill of the charts for the page."""
    pattern = _PATTERNS[fill.hatch]
    ink = "light" if luminance(fill.edge) > luminance(fill.face) else "dark"
    return {"colour": fill.face, "hatch": f"{pattern}-{ink}" if pattern else ""}


def paint_class(index: int) -> Paint:
    """How a class is painted."""
    return paint(class_fill(index))
