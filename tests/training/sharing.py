"""Work for several processes; a module of its own, since they import it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from training.distributed import processes

if TYPE_CHECKING:
    from histods.records import Progress


def share(number: int, progress: Progress) -> list[int]:
    """Count up to the own share of a number; what each process counted."""
    with processes("cpu") as process:
        own = range(process.rank, number, process.world_size)
        for done, _ in enumerate(own, start=1):
            progress("counting", done, number)
        with process.together():
            return [process.world_size, process.tell(len(own))]


def fail(rank: int, killed: bool, progress: Progress) -> None:  # noqa: ARG001 - as all work
    """Refuse, or be killed, in one process; the others wait for it."""
    with processes("cpu") as process, process.together():
        if process.rank == rank and killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if process.rank == rank:
            raise HistodsError("the shards lie on another machine; copy them.")
