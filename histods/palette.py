"""One colour and hatch a class index, the same in every chart and picture, told apart by colour-blind readers too.

Class 0 is grey. Classes 1-7 are the hues of Okabe and Ito ("Color Universal Design", 2008; the set that
Wong recommends in Nature Methods 8:441, 2011), 8 and 9 the indigo and wine of Paul Tol's "muted" scheme
(SRON technical note SRON/EPS/TN/09-002). These ten stay 16 CIELAB units or more from one another under
the simulations of protanopia, deuteranopia and tritanopia by Machado et al. (IEEE TVCG 15:1291, 2009).
Later classes take the nine hues again: lighter, darker, then the same three with a hatch.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "#c8c8c8"
HUES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#332288", "#882255")
SHADES = (0.0, 0.5, -0.4)
"""Share of white (above 0) or of black (below 0) mixed into a hue."""
HATCHES = ("", "/////", "|||||")
INK = "#262626"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """How a class is painted: `face` and `edge` are `#rrggbb`; `hatch` is a Matplotlib pattern, "" for none."""

    face: str
    edge: str
    hatch: str


def split_fill(name: str, place: int) -> Fill:
    """The fill of a split: train, val and test keep theirs, others have the one of their place (0 and up)."""
    face = _SPLITS.get(name) or _MORE_SPLITS[place % len(_MORE_SPLITS)]
    return Fill(face=face, edge=mixed(face, -0.4), hatch=HATCHES[place // len(_MORE_SPLITS) % len(HATCHES)])


def class_fill(index: int) -> Fill:
    """The fill of a class index (0 and up); 81 classes besides class 0 differ, later ones repeat them."""
    if index == 0:
        return Fill(face=UNKNOWN, edge=mixed(UNKNOWN, -0.4), hatch="")
    ring, hue = divmod(index - 1, len(HUES))
    hatch, shade = divmod(ring, len(SHADES))
    face = mixed(HUES[hue], SHADES[shade])
    # A dark face needs a light hatch: a darker one would not show.
    edge = mixed(face, 0.45 if luminance(face) < 0.1 else -0.4)
    return Fill(face=face, edge=edge, hatch=HATCHES[hatch % len(HATCHES)])


def mixed(colour: str, share: float) -> str:
    """Mix `#rrggbb` with white (share 0..1) or black (share -1..0)."""
    target = 255 if share > 0 else 0
    channels = [round(value + (target - value) * abs(share)) for value in bytes.fromhex(colour[1:])]
    return f"#{bytes(channels).hex()}"


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 (black) to 1 (white), as WCAG 2.2 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in bytes.fromhex(colour[1:]))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


SEVERITIES = {
    "error": Fill(face=HUES[5], edge=mixed(HUES[5], -0.4), hatch=""),
    "warning": Fill(face=HUES[0], edge=mixed(HUES[0], -0.4), hatch=""),
    "info": Fill(face=HUES[1], edge=mixed(HUES[1], -0.4), hatch=""),
}
"""Fills of findings, the gravest first: vermilion, orange and sky blue."""
_SPLITS = {"train": HUES[4], "val": HUES[0], "test": HUES[2]}
_MORE_SPLITS = (HUES[4], HUES[0], HUES[2], HUES[6], HUES[1], HUES[5], HUES[3], HUES[8])
