"""Thresholds of checks that a user sets: `checks.CODE.NAME=VALUE`."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from histods.checks.base import Check, Threshold

_SECTION = "checks"
_MAIN = "threshold"
"""Another name of the first threshold of each check, by which it decides."""


def parse_overrides(settings: Sequence[str], checks: Sequence[Check]) -> dict[str, float]:
    """Read thresholds; of two for the same one the last counts, as with all options.

    Args:
        settings: texts such as `checks.blur.sharpness=0.3`.
        checks: the checks that there are.

    Returns:
        Values by `CODE.NAME`.

    Raises:
        HistodsError: a text has another form, there is no such threshold, or the value is not one of its kind.
    """
    known = {check.code: {one.name: one for one in check.thresholds} for check in checks if check.thresholds}
    found = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        section, *words = name.strip().split(".")
        if section != _SECTION or len(words) != 2 or not value.strip():
            raise HistodsError(
                f"--set {setting!r} is not {_SECTION}.CODE.NAME=VALUE; give, for example, "
                "--set checks.blur.sharpness=0.3."
            )
        code, limit = words
        if code not in known:
            unset = any(check.code == code for check in checks)
            what = f"the check {code} has no thresholds" if unset else f"there is no check {code}"
            raise HistodsError(
                f"--set {setting}: {what}; the nearest check that has some is {_nearest(code, known)}."
            )
        if limit == _MAIN:
            limit = next(iter(known[code]))
        if limit not in known[code]:
            raise HistodsError(
                f"--set {setting}: {code} has no threshold {limit}, only {' and '.join(known[code])}."
            )
        found[f"{code}.{limit}"] = _parse(setting, value.strip(), known[code][limit])
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _parse(setting: str, text: str, threshold: Threshold) -> float:
    whole = isinstance(threshold.default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not threshold.least <= value <= threshold.most:
        kind = "a whole number" if whole else "a number"
        raise HistodsError(
            f"--set {setting}: {threshold.name} is {text!r}, expected {kind} from {threshold.least:g} to "
            f"{threshold.most:g}; the default is {threshold.default:g}."
        )
    return value
