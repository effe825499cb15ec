"""The error message for values out of range, shared by all sections of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterable


def wrong_setting(name: str, condition: str, found: object) -> HistodsError:
    """The error for a setting, by its full name (`model.dim`), that violates a condition."""
    return HistodsError(
        f"{name} is {found}; it must be {condition}: correct it in the configuration or with --set."
    )


def expect_setting(fits: bool, name: str, condition: str, found: object) -> None:
    """Reject an invalid setting.

    Raises:
        HistodsError: the condition is not met.
    """
    if not fits:
        raise wrong_setting(name, condition, found)


def one_of(names: Iterable[str]) -> str:
    """Names in the form `a, b or c`."""
    *others, last = names
    return " or ".join(filter(None, (", ".join(others), last)))
