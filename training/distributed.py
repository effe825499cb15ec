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
    from datetime import timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One of the processes that train together.

    Attributes:
        rank: 0 to world_size - 1; process 0 writes.
        world_size: how many there are, on all machines.
        device: where this one computes.
        cpu_group: Gloo group for collectives on the CPU, which need not wait for devices; None for one process.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device
    cpu_group: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            distributed.barrier()

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop; the devices go on meanwhile."""
        if self.world_size == 1:
            return stop
        wish = torch.tensor(float(stop))
        distributed.all_reduce(wish, op=distributed.ReduceOp.MAX, group=self.cpu_group)
        return bool(wish.item())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something that may fail in one process alone; all wait here, and none goes on without the others.

        Nothing inside may wait for other processes.

        Raises:
            HistodsError: another process failed; the message says which, where and why.
        """
        if self.world_size == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:  # raised again when the others know of it
            failed = error
        mine = None if failed is None else f"{self.place}: {' '.join(str(failed).split())[:500]}"
        others = [text for text in self.gather(mine) if text is not None]
        if failed is not None:
            raise failed
        if others:
            raise HistodsError(f"Stopped, since {others[0]}")

    @property
    def place(self) -> str:
        """Which process this is, and on which machine."""
        return f"process {self.rank} of {self.world_size} on {platform.node()}"

    def tell(self, value: Any) -> Any:
        """Return process 0's value in every process."""
        if self.world_size == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told, src=0, group=self.cpu_group)
        return told[0]

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, by rank, in all processes."""
        told = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(told, value, group=self.cpu_group)
        return told

    def all_equal(self, number: int) -> bool:
        """Whether all processes have the same number."""
        if self.world_size == 1:
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
            f"The device {device!s} cannot be used ({reason}); give cpu or cuda, or leave --device out."
        ) from error
    return chosen


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> str:
    """A device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"the CPU ({torch.get_num_threads()} threads, {platform.machine()})"


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile pays and can work: on a GPU, with the C compiler that its launchers need."""
    return device.type == "cuda" and any(map(shutil.which, ("cc", "gcc", "clang")))


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a GPU has bfloat16 arithmetic: those before Ampere (T4, V100) emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _number(name: str, default: int) -> int:
    """A whole number of the environment.

    Raises:
        HistodsError: it is something else.
    """
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise HistodsError(
            f"{name}={text} in the environment is not a whole number: start processes with torchrun, which sets "
            f"it, or unset {name} to train with one."
        ) from error


@contextmanager
def processes(device: torch.device | str | None = None, *, patience: timedelta | None = None) -> Iterator[Process]:
    """This process, joined with the others that `torchrun` started, if it did.

    Args:
        device: where to compute; a GPU if there is one.
        patience: how long one process may wait for another, where their shares differ in length.
    """
    ranks, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    if not 0 <= rank < ranks:
        raise HistodsError(
            f"RANK={rank} is not a valid rank among WORLD_SIZE={ranks} processes: start them with torchrun, which "
            "sets both, or unset them to train with one."
        )
    if ranks == 1:
        yield Process(device=choose_device(device))
        return
    chosen = choose_device(device)
    options: dict[str, Any] = {}
    if chosen.type == "cuda":
        chosen = torch.device("cuda", _number("LOCAL_RANK", 0))
        try:
            torch.cuda.set_device(chosen)
        except RuntimeError as error:
            raise HistodsError(
                f"There is no GPU {chosen.index} on {platform.node()}, which has {torch.cuda.device_count()}: "
                "start as many processes on a machine as it has GPUs (--nproc-per-node)."
            ) from error
        options["device_id"] = chosen
    try:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", **options)
    except (ValueError, RuntimeError) as error:  # a variable that torchrun sets is missing; nobody answers
        reason = " ".join(str(error).split())[:200]
        raise HistodsError(
            f"Process {rank} of {ranks} on {platform.node()} found no others ({reason}): start all with "
            "torchrun, or unset WORLD_SIZE to train with one."
        ) from error
    try:
        cpu_group = distributed.new_group(backend="gloo", timeout=patience)
        yield Process(rank=rank, world_size=ranks, device=chosen, cpu_group=cpu_group)
    finally:
        distributed.destroy_process_group()
