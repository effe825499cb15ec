"""Checkpoints that are written while training continues."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from training.runs.checkpoint import CHECKPOINTS, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor

    from training.config.sections import TrainConfig
    from training.runs.checkpoint import State


class CheckpointWriter:
    """Copies tensors to host memory and writes the copies in a thread, one checkpoint at a time.

    Copies from a GPU are queued between two steps, so the caller does not wait for them. Their memory is pinned
    and kept for the next checkpoint.

    Args:
        run: the run's folder.
        home: the folder in it for checkpoints.
    """

    def __init__(self, run: Path, home: str = CHECKPOINTS) -> None:
        self._run, self._home = run, home
        self._copies: dict[tuple[str, str], Tensor] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoint")  # Python waits for it before it exits
        self._pending: Future[Path] | None = None

    def begin(
        self,
        state: State,
        parts: Mapping[str, Mapping[str, Tensor]],
        *,
        config: TrainConfig,
        keep: int | None = None,
    ) -> None:
        """Wait for the previous checkpoint, then copy the tensors and start to write them with `save_checkpoint`.

        The tensors may be changed as soon as this returns.

        Raises:
            HistodsError: the previous checkpoint could not be written.
        """
        self.wait()
        copies = {
            part: {name: self._copy(part, name, tensor.detach()) for name, tensor in tensors.items()}
            for part, tensors in parts.items()
        }
        copied = None
        if any(copy.is_pinned() for copy in self._copies.values()):
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()

        def write() -> Path:
            if copied is not None:
                copied.synchronize()
            return save_checkpoint(self._run, state, copies, config=config, keep=keep, home=self._home)

        self._pending = self._thread.submit(write)

    def check(self) -> None:
        """Raise an error of the last checkpoint, without waiting.

        Raises:
            HistodsError: the last checkpoint could not be written; raised only once.
        """
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            HistodsError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _copy(self, part: str, name: str, tensor: Tensor) -> Tensor:
        """Copy a tensor into memory that is reused for it."""
        kept = self._copies.get((part, name))
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            pinned = tensor.device.type == "cuda"
            kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
            self._copies[part, name] = kept
        return kept.copy_(tensor, non_blocking=True)
