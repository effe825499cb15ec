"""torch.compile by block: residual blocks, attention and the reading of masks, each by itself.

A network has the same block many times, so that a few kernels serve all of it, and the first step comes sooner.
The gradients of a block are ready when its own backward pass ends, so that processes that train together exchange
them while the rest is computed; those of a network that is compiled as a whole are ready only at its very end.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from training.model.conditioning import MaskReader
from training.model.layers import Residual, ResnetBlock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import nn

_BLOCKS = (ResnetBlock, Residual, MaskReader)
_MAX_FORMS = 256
"""Shapes for which blocks are compiled before PyTorch gives up and runs them as they are: it counts those of all
blocks together. A network of four levels has some 15, and twice as many with validation."""


def compile_blocks(module: nn.Module, mode: str = "default") -> None:
    """Let torch.compile make kernels for the blocks of a network, in place; names of weights stay.

    Args:
        module: a network; copies that are made of it later are not compiled.
        mode: the mode of torch.compile; see `run.compile_mode`.
    """
    from torch._dynamo import config  # takes a second: only where something is compiled

    config.recompile_limit = max(config.recompile_limit, _MAX_FORMS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, _MAX_FORMS)
    # PyTorch itself looks at gradients of what goes into a block, and warns about it.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
    for part in module.modules():
        if isinstance(part, _BLOCKS):
            part.compile(mode=mode, dynamic=False)


def uncompiled() -> AbstractContextManager[None]:
    """Run networks as they are in a `with` statement, compiled or not.

    For batches of sizes that come seldom: compiling for one more took up to 45 s on an H100 (docs/benchmarks.md),
    where a validation that is not compiled took 0.3 s.
    """
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]


def begin_step() -> None:
    """Let CUDA graphs, where blocks are replayed from them, write over the results of the step before."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
