"""All remedies of `histods fix --repair`. To add one, write one file with a `REMEDY` and add it to `REMEDIES`."""

from __future__ import annotations

from histods.remedies import (
    colours,
    greys,
    narrow,
    palette,
    recode,
    rescale,
    specks,
    suffix,
    untag,
    upright,
)
from histods.remedies.base import Remedy

__all__ = ["REMEDIES", "Remedy", "remedies_of", "repair_options", "repairable"]

REMEDIES: tuple[Remedy, ...] = (
    narrow.REMEDY,
    palette.REMEDY,
    colours.REMEDY,
    greys.REMEDY,
    rescale.REMEDY,
    suffix.REMEDY,
    upright.REMEDY,
    untag.REMEDY,
    recode.REMEDY,
    specks.REMEDY,
)


def remedies_of(code: str) -> list[Remedy]:
    """The remedies for a finding, or for a kind of masks, in the order in which they are tried."""
    return [remedy for remedy in REMEDIES if code in remedy.repairs]


def repair_options(code: str) -> str:
    """Options of `histods fix CODE` that repair its files, with a space in front; empty if a repair needs more."""
    remedies = [remedy for remedy in remedies_of(code) if not remedy.needs_labels]
    if not remedies:
        return ""
    first = min(remedies, key=lambda remedy: remedy.by_name)
    return f" --repair --remedy {first.name}" if first.by_name else " --repair"


def repairable() -> list[str]:
    """Codes of findings and kinds of masks that have a remedy, each once."""
    return list(dict.fromkeys(code for remedy in REMEDIES for code in remedy.repairs))
