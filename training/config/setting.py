"""Settings whose values are out of range: one sentence for all sections of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable


def wrong_setting(name: str, condition: str, found: object) -> HistodsError:
    """The error of a setting, by its whole name (`model.dim`), that is not what it must be."""
    return HistodsError(
        f"{name} is {found}; it must be {condition}: correct it in the configuration or with --set."
    )


def expect_setting(fits: bool, name: str, condition: str, found: object) -> None:
    """Refuse a setting that does not fit.

    Raises:
        HistodsError: it does not.
    """
    if not fits:
        raise wrong_setting(name, condition, found)


def one_of(names: Iterable[str]) -> str:
    """Names as in `a, b or c`."""
    *others, last = names
    return " or ".join(filter(None, (", ".join(others), last)))
