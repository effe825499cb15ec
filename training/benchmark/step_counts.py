"""What a training step asks of the device, counted instead of timed: kernels and bytes, the same on every machine.

A step runs once, on the CPU; each operation that PyTorch hands to a device is counted as one launch, and what it
reads and writes as bytes. A fused kernel does several operations in one launch and one pass over memory, so that
counts of a form that is compiled are not comparable; FLOPs are in `training.model.flops`. On a GPU some operations
take several launches, such as those on lists of tensors, and autocast turns some other ones into bfloat16: compare
counts with counts.
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
"""Operations that ask for memory or nothing at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCounts:
    """What one training step asks of the device.

    Attributes:
        launches: operations.
        bytes: read and written by them.
        to_device: bytes of a batch that the host sends: latents, masks and what goes with them.
        by_operation: launches of each operation, most first.
    """

    launches: int
    bytes: int
    to_device: int
    by_operation: Mapping[str, int]


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that are run in its `with` statement, those of the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and take note of it."""
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
    """Count what one step after the first one does.

    Args:
        config: network, batch size, precision and the rest; not compiled.
        process: on a CPU.
        source: the source of latents.
        space: what the network sees of them.
    """
    trainer = make_trainer(config, process, source, space)
    batches = iter(source.batches(config.run.seed, config.data.batch_size, process))
    trainer.train_step(batches)  # what is made once is no part of a step
    batch = next(batches)
    with _Ledger() as ledger:
        trainer.train_step(iter([batch]))
    return StepCounts(
        launches=ledger.launches.total(),
        bytes=ledger.bytes,
        to_device=sum(tensor.nbytes for tensor in batch if tensor is not None),
        by_operation=dict(ledger.launches.most_common()),
    )
