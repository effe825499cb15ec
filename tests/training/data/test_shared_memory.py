"""Shared slots: what is held is never overwritten, what is let go is used again."""

from __future__ import annotations

import multiprocessing

import numpy as np
import torch

from training.data.shared_memory import SharedBufferPool


def test_every_slot_can_be_taken_once_and_again_when_it_is_let_go() -> None:
    arena = SharedBufferPool(2, 16)
    mine = [arena.take(1) for _ in range(5)]
    assert mine == [4, 5, 6, 7, None]
    array = arena.borrow(5)
    tensor = torch.from_numpy(array[4:].reshape(3, 4))
    del array
    assert arena.take(1) is None
    assert tensor.shape == (3, 4)
    del tensor
    assert arena.take(1) == 5
    assert arena.take(0) == 0


def test_slots_do_not_overlap_and_are_seen_by_other_processes() -> None:
    arena = SharedBufferPool(2, 1000)

    def fill() -> None:
        for worker in (0, 1):
            while (slot := arena.take(worker)) is not None:
                arena.memory(slot)[:] = slot

    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    process.join()
    for slot in range(8):
        np.testing.assert_array_equal(arena.borrow(slot), np.full(1000, slot))


def test_an_array_outlives_the_arena() -> None:
    arena = SharedBufferPool(1, 8)
    arena.memory(2)[:] = 7
    array = arena.borrow(2)
    del arena
    assert array.tolist() == [7] * 8
