"""Shared memory that worker processes decode into and the trainer reads, reused for each batch.

Torch itself allocates new shared memory for each batch, and touching a page for the first time costs 0.5 to 6 us;
the 192 pages of one 512x512 image can cost more than decoding it. This memory is allocated once, and the size of
/dev/shm does not limit it.
"""

from __future__ import annotations

import mmap
import os
import weakref
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLOTS = 4  # per worker: two batches ready or in progress, and two that the trainer may hold


class SharedBufferPool:
    """Slots of equal size, shared with processes that are forked later; each worker has its own.

    A worker takes a free slot and fills it; the trainer borrows it as an array; once the last view of that array
    is gone, the slot is free again. A pipe passes free slots, one byte each.
    """

    def __init__(self, workers: int, size: int) -> None:
        self._size = size
        self._memory = mmap.mmap(-1, max(1, workers * _SLOTS * size))
        self._pipes = [os.pipe() for _ in range(workers)]
        for worker, (free, _) in enumerate(self._pipes):
            os.set_blocking(free, False)
            for place in range(_SLOTS):
                self._give_back(worker * _SLOTS + place)

    def __del__(self) -> None:
        for ends in self._pipes:
            for end in ends:
                os.close(end)

    def take(self, worker: int) -> int | None:
        """Take a free slot of a worker; None if the trainer holds all of them."""
        try:
            return worker * _SLOTS + os.read(self._pipes[worker][0], 1)[0]
        except BlockingIOError:
            return None

    def memory(self, slot: int) -> NDArray[np.uint8]:
        """The bytes of a slot, for the worker that took it."""
        return np.frombuffer(self._memory, np.uint8, self._size, slot * self._size)

    def borrow(self, slot: int) -> NDArray[np.uint8]:
        """The bytes of a slot, which is returned once no view of them is left."""
        array = self.memory(slot)
        # The finaliser keeps the pool, and with it the pipes, alive as long as an array is.
        weakref.finalize(array, self._give_back, slot).atexit = False
        return array

    def _give_back(self, slot: int) -> None:
        os.write(self._pipes[slot // _SLOTS][1], bytes([slot % _SLOTS]))
