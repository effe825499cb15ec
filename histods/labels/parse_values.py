"""Single values of label maps and labels files: ranges of labels, names and colours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from histods.io.strict_yaml import NonStringScalar, advise, show
from histods.labels.label_map import MAX_LABELS

if TYPE_CHECKING:
    from histods.io.strict_yaml import Origin, Value

_RANGE = re.compile(r"\s*([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?\s*")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_BRIGHTEST = 255


def is_range(value: Value) -> bool:
    """Whether a value looks like a label or a range of labels."""
    return isinstance(value, int) or (isinstance(value, str) and _RANGE.fullmatch(value) is not None)


def parse_range(origin: Origin, value: Value, of: str) -> range:
    """Parse labels such as `7`, `"7"` or `"10-15"` (both ends included)."""
    match = _RANGE.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None and not isinstance(value, int):
        advice = advise(value, "write a whole number")
        raise origin.error(f"labels {of} such as 7 or '10-15'", show(value), advice)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (int(str(value)),) * 2
    if low > high:
        raise origin.error(f"ranges {of} from low to high", show(value), f"write '{high}-{low}'")
    if low < 0 or high >= MAX_LABELS:
        raise origin.error(f"labels {of} from 0 to {MAX_LABELS - 1}", show(value), "correct it")
    return range(low, high + 1)


def parse_name(origin: Origin, value: Value, of: str) -> str:
    """Parse a name, with runs of white space as single spaces."""
    if isinstance(value, str) and value.strip():
        return " ".join(value.split())
    number = isinstance(value, int) or (isinstance(value, NonStringScalar) and value.kind != "null")
    raise origin.error(
        f"a name for {of}", show(value), advise(value, "put it in quotes" if number else "write its name")
    )


def parse_colour(origin: Origin, value: Value, label: int) -> tuple[int, int, int]:
    """Parse RGB from `"#rrggbb"` or `[red, green, blue]`."""
    if isinstance(value, str) and _COLOUR.fullmatch(value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    match value:
        case [int(red), int(green), int(blue)] if all(0 <= part <= _BRIGHTEST for part in (red, green, blue)):
            return red, green, blue
    advice = "write '#rrggbb' in quotes, since # starts a comment, or [red, green, blue] from 0 to 255"
    found = f"[{', '.join(map(_show_channel, value[:4]))}]" if isinstance(value, list) else show(value)
    raise origin.error(f"a colour for label {label}", found, advice)


def _show_channel(value: Value) -> str:
    return str(value) if isinstance(value, int) else show(value)
