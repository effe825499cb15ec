"""torch.compile by block: residual blocks, attention and the mask reader, each separately.

A network repeats the same block many times, so a few kernels serve all of it, and the first step comes sooner. The
gradients of a block are ready when its own backward pass ends, so distributed training exchanges them while the
rest is computed; those of a network compiled as a whole are ready only at the very end.
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
"""Number of shapes, over all blocks, for which PyTorch compiles before it falls back to eager mode. A network of
four levels has some 15."""


def compile_blocks(module: nn.Module, mode: str = "default") -> None:
    """Compile the blocks of a network in place; names of weights do not change.

    Args:
        module: a network; later copies of it are not compiled.
        mode: the mode of torch.compile; see `run.compile_mode`.
    """
    from torch._dynamo import config  # takes a second, so import it only when needed

    config.recompile_limit = max(config.recompile_limit, _MAX_FORMS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, _MAX_FORMS)
    # PyTorch itself looks at the gradients of a block's inputs, and warns about it.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
    for part in module.modules():
        if isinstance(part, _BLOCKS):
            part.compile(mode=mode, dynamic=False)


def uncompiled() -> AbstractContextManager[None]:
    """Run networks in eager mode within a `with` statement, even if they are compiled.

    This is for rare batch sizes: compiling for one more took up to 45 s on an H100 (docs/benchmarks.md), whereas
    an uncompiled validation took 0.3 s.
    """
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]


def begin_step() -> None:
    """Let CUDA graphs, if blocks are replayed from them, overwrite the results of the previous step."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
