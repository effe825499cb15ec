"""Which device computes, and which process this is among those that train together."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One of the processes that train together.

    Attributes:
        rank: 0 to ranks - 1; process 0 writes.
        ranks: how many there are, on all machines.
        device: where this one computes.
        words: group in which processes talk without their devices, which need not be waited for; None for one.
    """

    rank: int = 0
    ranks: int = 1
    device: torch.device
    words: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.ranks > 1:
            distributed.barrier()

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop; the devices go on meanwhile."""
        if self.ranks == 1:
            return stop
        wish = torch.tensor(float(stop))
        distributed.all_reduce(wish, op=distributed.ReduceOp.MAX, group=self.words)
        return bool(wish.item())

    def alike(self, number: int) -> bool:
        """Whether all processes have the same number."""
        if self.ranks == 1:
            return True
        ends = torch.tensor([number, -number], device=self.device)
        distributed.all_reduce(ends, op=distributed.ReduceOp.MAX)
        highest, lowest = ends.tolist()
        return bool(highest == -lowest)


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The device that was asked for; else a GPU if there is one; else the CPU.

    Raises:
        HistodsError: there is no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HistodsError(
            f"Expected a device such as cpu or cuda, found {device!s} ({reason}); leave --device out."
        ) from error
    return chosen


def describe(device: torch.device) -> str:
    """A device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"the CPU ({torch.get_num_threads()} threads, {platform.machine()})"


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile pays and can work: on a GPU, with the C compiler that its launchers need."""
    return device.type == "cuda" and any(map(shutil.which, ("cc", "gcc", "clang")))


@contextmanager
def processes(device: torch.device | str | None = None) -> Iterator[Process]:
    """This process, joined with the others that `torchrun` started, if it did."""
    ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if ranks == 1:
        yield Process(device=choose_device(device))
        return
    chosen = choose_device(device)
    options: dict[str, Any] = {}
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
        options["device_id"] = chosen
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", **options)
    try:
        words = distributed.new_group(backend="gloo")
        yield Process(rank=rank, ranks=ranks, device=chosen, words=words)
    finally:
        distributed.destroy_process_group()
