"""Who runs the work: an engine takes a function and chunks of items, and yields one outcome per chunk.

Order is not promised. A chunk whose worker dies or whose work raises is run again, alone, and then
split until the one item that fails is left: that item is a `Failed`, everything else is `Done`.
"""

from __future__ import annotations

from histods.engines.engine import Engine
from histods.engines.factory import engine_for
from histods.engines.pool import Done, Failed

__all__ = ["Done", "Engine", "Failed", "engine_for"]
