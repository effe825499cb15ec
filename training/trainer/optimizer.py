"""The optimizer, and its tensors by the names of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from training.config.sections import OptimizerConfig


def make_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Adam or AdamW, fused: one kernel per step, and steps can be skipped without device synchronisation."""
    kind: type[torch.optim.Adam] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    beta1, beta2 = config.betas
    return kind(module.parameters(), lr=0.0, betas=(beta1, beta2), weight_decay=config.weight_decay, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The optimizer's tensors as `weight's name:tensor's name`; empty before the first step."""
    return {
        f"{name}:{key}": tensor
        for name, weight in module.named_parameters()
        for key, tensor in optimizer.state.get(weight, {}).items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Restore the tensors of `optimizer_tensors`.

    Raises:
        KeyError: a tensor belongs to a weight that the module does not have.
    """
    weights = dict(module.named_parameters())
    for full, tensor in tensors.items():
        name, _, key = full.rpartition(":")
        weight = weights[name]
        like = torch.empty_like(weight) if tensor.shape == weight.shape else torch.empty_like(tensor)
        optimizer.state[weight][key] = like.to(weight.device).copy_(tensor)
