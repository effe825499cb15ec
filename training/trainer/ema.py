"""The average of weights over a run, which gives better samples than the last weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from training.runs.post_hoc_ema import power_exponent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from training.config.sections import EmaConfig

_COPIED = 100
"""Steps of `exponential` in which the average equals the weights, so that it excludes the earliest ones."""


def decay_at(config: EmaConfig, step: int) -> float:
    """The decay of the average at the update after `step` steps, a multiple of `every`.

    Exponential: 0 up to step 100, so the average equals the weights; then 1 - (1 + n)^(-2/3) with n steps since,
        up
    to `decay`, as in the reference's library (ema-pytorch, by default).
    Power: (1 - every / step)^(gamma + 1), that is (1 - 1 / t)^(gamma + 1) over `every` steps (Karras et al. 2024,
    eq. 2); the initial weights do not contribute.
    """
    if config.kind == "power":
        return float((1 - config.every / step) ** (power_exponent(config.sigma_rel) + 1))
    since = step - _COPIED
    return 0.0 if since <= 0 else min(1 - (1 + since) ** (-2 / 3), config.decay)


class Ema:
    """Averages of a module's parameters in float32, on the module's device; they start from its initial weights.

    Attributes:
        tensors: the averages, by the parameters' names.
    """

    def __init__(self, config: EmaConfig, module: nn.Module) -> None:
        self._config = config
        self.tensors = {
            name: weight.detach().to(torch.float32, copy=True) for name, weight in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Update with the weights after `step` steps (from 1), if due, without device synchronisation."""
        if step % self._config.every:
            return
        weights = [weight.float() for weight in module.parameters()]
        torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - decay_at(self._config, step))

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Copy the averages into a module."""
        for name, weight in module.named_parameters():
            weight.copy_(self.tensors[name])

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore saved averages.

        Raises:
            KeyError: names or shapes are not those of the module.
        """
        ours = {name: average.shape for name, average in self.tensors.items()}
        theirs = {name: tensor.shape for name, tensor in tensors.items()}
        if ours != theirs:
            raise KeyError(*sorted(name for name, _ in ours.items() ^ theirs.items())[:3])
        for name, average in self.tensors.items():
            average.copy_(tensors[name])
