"""Tables in, pictures and pages out: charts of what an audit and its label maps found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.charts import plot

__all__ = ["plot"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from reports import charts

        return getattr(charts, name)
    raise AttributeError(f"module 'reports' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
