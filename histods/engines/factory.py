"""Engines by name."""

from __future__ import annotations

from histods.engines.engine import Engine
from histods.errors import HistodsError


def engine_for(name: str = "local", workers: int | None = None) -> Engine:
    """Make the engine `name` ("local" or "ray") with `workers` processes (all usable cores by default).

    Raises:
        HistodsError: the name is unknown or the number of workers is not a positive whole number.
        MissingExtraError: the engine's package is not installed.
    """
    if workers is not None and not isinstance(workers, int):
        raise HistodsError(f"--workers {workers!r} is not a whole number; omit --workers to use all cores.")
    if workers is not None and workers < 1:
        raise HistodsError(f"--workers {workers} is below 1; omit --workers to use all cores.")
    if name == "local":
        from histods.engines.local import LocalPool

        return Engine(LocalPool(workers))
    if name == "ray":
        from histods.engines.ray import RayPool

        return Engine(RayPool(workers))
    raise HistodsError(
        f"There is no engine {name!r}; give --engine local or ray, or omit --engine to use this machine."
    )
