"""Workers of a Ray cluster: the one that `RAY_ADDRESS` names, or one started on this machine.

The dataset must be mounted at the same path on every machine of the cluster.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from histods.engines.pool import WorkerDiedError
from histods.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class RayPool:
    """Tasks on a Ray cluster; `workers` limits concurrent tasks and defaults to the cluster's cores."""

    def __init__(self, workers: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "--engine ray needs Ray, which is not installed; run: pip install 'histods[ray]'."
            ) from error
        self._ray = ray
        self._started_here = not ray.is_initialized()
        if self._started_here:
            ray.init(num_cpus=workers, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        self.workers: int = workers or int(ray.cluster_resources().get("CPU", 1))
        # The engine does the narrowing, so a file that kills its worker is not retried forever.
        self._remote = ray.remote(max_retries=0)(_call)
        self._failed: object = None

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        """Queue a call."""
        handle: object = self._remote.remote(work, chunk)
        return handle

    def wait_any(self, handles: Sequence[object]) -> tuple[object, Any]:
        """Wait for one call; see `Pool.wait_any`."""
        (handle,), _ = self._ray.wait(list(handles), num_returns=1)
        self._failed = handle
        try:
            return handle, self._ray.get(handle)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.WorkerCrashedError as error:
            raise WorkerDiedError from error

    def failed_handle(self) -> object:
        """Handle of the last call that raised."""
        return self._failed

    def restart(self) -> None:
        """Do nothing, since Ray replaces dead workers automatically."""

    def close(self) -> None:
        """Leave the cluster, and stop it if it was started here."""
        if self._started_here:
            self._ray.shutdown()


def _call(work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> Any:
    return work(chunk)
