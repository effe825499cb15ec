"""Charts of the results of an audit and its label maps, and one page of everything in a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.lazy import lazy_exports

if TYPE_CHECKING:
    from reports.charts import plot
    from reports.page.write import report

__all__ = ["plot", "report"]

__getattr__, __dir__ = lazy_exports(__name__, {"plot": "reports.charts", "report": "reports.page.write"})
