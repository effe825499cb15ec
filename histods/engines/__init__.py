"""Engines, which take a function and chunks of items, and yield one outcome per chunk.

The order is not defined. A chunk whose worker dies or whose work raises is run again on its own, and then split
until only the failing item is left: that item is a `Failed`, everything else is `Done`.
"""

from __future__ import annotations

from histods.engines.engine import Engine
from histods.engines.factory import engine_for
from histods.engines.pool import Done, Failed

__all__ = ["Done", "Engine", "Failed", "engine_for"]
