"""Charts of the results of an audit and its label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.lazy import lazy_exports

if TYPE_CHECKING:
    from reports.charts import plot

__all__ = ["plot"]

__getattr__, __dir__ = lazy_exports(__name__, {"plot": "reports.charts"})
