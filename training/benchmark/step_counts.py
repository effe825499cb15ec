"""The work of a training step, counted instead of timed: kernels and bytes, the same on every machine.

A step runs once, on the CPU. Each operation that PyTorch dispatches counts as one launch, and its inputs and
outputs as bytes. A fused kernel does several operations in one launch and one pass over memory, so counts of a
compiled network are not comparable; FLOPs are in `training.model.flops`. On a GPU some operations, such as those
on lists of tensors, take several launches, and autocast converts other ones to bfloat16: compare counts only with
counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from training.benchmark.timing import make_trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.benchmark.timing import Synthetic
    from training.config.sections import TrainConfig
    from training.data.source import Source
    from training.distributed import Process
    from training.latents.latent_space import LatentSpace

_NOTHING = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach"})
"""Operations that only allocate memory, or do nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCounts:
    """The work of one training step.

    Attributes:
        launches: the number of operations.
        bytes: bytes that they read and write.
        to_device: bytes of all tensors of a batch, which the host sends.
        by_operation: launches of each operation, most frequent first.
    """

    launches: int
    bytes: int
    to_device: int
    by_operation: Mapping[str, int]


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations run within its `with` statement, including those of the backward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and name not in _NOTHING:
            self.launches[name] += 1
            tensors = [leaf for leaf in tree_iter((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def count_step(
    config: TrainConfig, process: Process, source: Source | Synthetic, space: LatentSpace
) -> StepCounts:
    """Count the work of one step after the first.

    Args:
        config: the settings; the network is not compiled.
        process: a process on a CPU.
        source: the source of latents.
        space: the latent space.
    """
    trainer = make_trainer(config, process, source, space)
    batches = iter(source.batches(config.run.seed, config.data.batch_size, process))
    trainer.train_step(batches)  # tensors that are made only once do not count
    batch = next(batches)
    with _Ledger() as ledger:
        trainer.train_step(iter([batch]))
    return StepCounts(
        launches=ledger.launches.total(),
        bytes=ledger.bytes,
        to_device=sum(tensor.nbytes for tensor in batch if tensor is not None),
        by_operation=dict(ledger.launches.most_common()),
    )
