"""Text on charts: its width, shortening, and the format of numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from histods.printing import counted

FONT = "DejaVu Sans"
"""Comes with Matplotlib, so widths are the same on every machine."""
BODY = 7.0
"""Points; journals ask for 5 to 7 in figures."""
SMALLEST_PERCENT = 0.0001
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@lru_cache(maxsize=65536)
def text_width(text: str, size: float = BODY, weight: str = "normal") -> float:
    """Width of a line of text in inches, at a size in points."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return width / 72


def shortened(text: str, inches: float, size: float = BODY, weight: str = "normal") -> str:
    """The text, or as much of both its ends around an ellipsis as fits a width in inches.

    Both ends are kept because names in pathology differ at both ("Dermis_…, Surgical margin"); whole words are
    used if two of them fit.
    """
    if text_width(text, size, weight) <= inches:
        return text
    for parts, joint, fewest in ((text.split(" "), " ", 2), (list(text), "", 0)):

        def width(kept: int, parts: list[str] = parts, joint: str = joint) -> float:
            return text_width(_ends(parts, joint, kept), size, weight)

        kept = bisect_right(range(len(parts)), inches, key=width) - 1
        if kept >= fewest:
            return _ends(parts, joint, kept)
    return "…"


def wrapped(text: str, inches: float, size: float = BODY) -> list[str]:
    """The text in lines that fit a width in inches, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > inches:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _ends(parts: list[str], joint: str, kept: int) -> str:
    """The first and last of the parts around an ellipsis, `kept` in all."""
    return joint.join([*parts[: (kept + 1) // 2], "…", *parts[len(parts) - kept // 2 :]])


def percent_text(percent: float) -> str:
    """A share in percent: two decimals, more below 0.1, never rounded to 0 or 100."""
    if percent in {0, 100}:
        return f"{percent:.0f} %"
    if percent < SMALLEST_PERCENT:
        return f"<{SMALLEST_PERCENT} %"
    if percent < 100 and round(percent, 2) == 100:
        return ">99.99 %"
    decimals = 2 if percent >= 0.1 else 3 if percent >= 0.01 else 4
    return f"{percent:.{decimals}f} %"


def pixels_text(percent: float, pixels: int) -> str:
    """A share of the pixels; if it is too small for a percentage, also the number of pixels."""
    text = percent_text(percent)
    return f"{text} ({counted(pixels, 'pixel')})" if text.startswith("<") else text


def tick_text(value: float) -> str:
    """A tick as a plain number; a very small one as a power of ten."""
    if 0 < value < SMALLEST_PERCENT:
        return "10" + str(round(math.log10(value))).translate(SUPERSCRIPTS)
    return f"{value:,.4f}".rstrip("0").rstrip(".")
