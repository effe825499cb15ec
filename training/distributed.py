"""The device to compute on, and the processes that train together."""

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
        world_size: the number of processes on all machines.
        device: the device of this process.
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
        """Wait until all processes have reached this call."""
        if self.world_size > 1:
            distributed.barrier()

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop; devices are not waited for."""
        if self.world_size == 1:
            return stop
        wish = torch.tensor(float(stop))
        distributed.all_reduce(wish, op=distributed.ReduceOp.MAX, group=self.cpu_group)
        return bool(wish.item())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block that may fail in one process only; all wait at its end, and if one fails, all stop.

        The block must not wait for other processes.

        Raises:
            HistodsError: another process failed; the message names the process, its host and the reason.
        """
        if self.world_size == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:  # raised again once the other processes know
            failed = error
        mine = None if failed is None else f"{self.place}: {' '.join(str(failed).split())[:500]}"
        others = [text for text in self.gather(mine) if text is not None]
        if failed is not None:
            raise failed
        if others:
            raise HistodsError(f"Stopped, since {others[0]}")

    @property
    def place(self) -> str:
        """The rank and the host name, for messages."""
        return f"process {self.rank} of {self.world_size} on {platform.node()}"

    def tell(self, value: Any) -> Any:
        """Return process 0's value in every process."""
        if self.world_size == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told, src=0, group=self.cpu_group)
        return told[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank, in every process."""
        told = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(told, value, group=self.cpu_group)
        return told

    def all_equal(self, number: int) -> bool:
        """Whether all processes pass the same number."""
        if self.world_size == 1:
            return True
        ends = torch.tensor([number, -number], device=self.device)
        distributed.all_reduce(ends, op=distributed.ReduceOp.MAX)
        highest, lowest = ends.tolist()
        return bool(highest == -lowest)


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The requested device, else a GPU if there is one, else the CPU.

    Raises:
        HistodsError: the device does not exist.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HistodsError(
            f"The device {device!s} cannot be used ({reason}); give cpu or cuda, or omit --device."
        ) from error
    return chosen


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> str:
    """Describe a device for messages."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"the CPU ({torch.get_num_threads()} threads, {platform.machine()})"


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works and pays off: on a GPU, with the C compiler that its launchers need."""
    return device.type == "cuda" and any(map(shutil.which, ("cc", "gcc", "clang")))


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a GPU has bfloat16 arithmetic; those before Ampere (T4, V100) emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _number(name: str, default: int) -> int:
    """An integer environment variable.

    Raises:
        HistodsError: the variable is not an integer.
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
    """This process, joined with any others that `torchrun` started.

    Args:
        device: where to compute; by default a GPU if there is one.
        patience: how long processes may wait for each other when their shares differ in length.
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
    except (ValueError, RuntimeError) as error:  # a variable that torchrun sets is missing; no process answers
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
