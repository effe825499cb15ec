"""What a section of the page is: a name, a title, and a function that gives what its template shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.page.pictures import Pictures
    from reports.page.source import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a section shows.

    Attributes:
        values: what its template shows.
        data: what the page's scripts draw, as JSON values.
        packed: likewise, for large tables, which are compressed.
        missing: why there is nothing to show, and the command that makes it; None where there is something.
        problems: what could not be read, one line each.
    """

    values: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    packed: dict[str, Any] | None = None
    missing: Missing | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Why a section is empty, in one sentence, and the command that fills it; without one where none does."""

    reason: str
    command: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section: `template/sections/NAME.html.j2` shows what `build` returns."""

    name: str
    title: str
    build: Callable[[Source, Pictures], Content]
