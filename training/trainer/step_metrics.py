"""Per-step metrics, accumulated on the device: one synchronisation per `run.log_every` steps."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from training.distributed import Process

SPENT = ("waiting", "saving", "validating", "previewing")
"""What a run spends time on besides training steps; waiting is for data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsWindow:
    """Metrics of the steps since the last reading.

    Attributes:
        losses: loss of each step, the mean over all processes.
        norms: norm of each step's gradient before clipping.
        skipped: for each step, whether it was skipped because its gradient was not finite.
        in_a_row: length of the longest sequence of skipped steps, which may have started earlier.
        mean: the mean of each channel of the normalised latents on this process.
        std: standard deviation of each channel.
        seconds: duration of the steps and of the work between them.
        spent: the part of these seconds not spent on training, by kind; see `SPENT`.
        totals: seconds of the call so far: in total, as `seconds`, and by the same kinds.
    """

    losses: list[float]
    norms: list[float]
    skipped: list[bool]
    in_a_row: int
    mean: list[float]
    std: list[float]
    seconds: float
    spent: dict[str, float]
    totals: dict[str, float]

    def lines(self, first: int, rates: list[float], skipped: int, batch_size: int) -> list[dict[str, Any]]:
        """The metrics for metrics.jsonl, one line per step.

        Args:
            first: number of steps before these.
            rates: learning rate of each step.
            skipped: number of steps skipped in the whole run.
            batch_size: samples per step.
        """
        columns = zip(self.losses, self.norms, rates, strict=True)
        lines: list[dict[str, Any]] = [
            {
                "kind": "train",
                "step": step,
                "loss": finite_or_none(loss),
                "rate": rate,
                "gradient_norm": finite_or_none(norm),
            }
            for step, (loss, norm, rate) in enumerate(columns, start=first + 1)
        ]
        lines[-1] |= {
            "skipped": skipped,
            "latent_mean": [finite_or_none(value) for value in self.mean],
            "latent_std": [finite_or_none(value) for value in self.std],
            "timing": {
                "images_per_second": round(len(lines) * batch_size / self.seconds, 3),
                **{name: round(seconds / self.seconds, 4) for name, seconds in self.spent.items()},
                "totals": {name: round(seconds, 3) for name, seconds in self.totals.items()},
            },
        }
        return lines


class StepMetrics:
    """Collects metrics without waiting for the device, and returns them all at once."""

    def __init__(self, channels: int, process: Process) -> None:
        self._process = process
        self._in_a_row = torch.zeros((), device=process.device)
        self._channels = channels
        self._since = time.perf_counter()
        self._totals = dict.fromkeys(("seconds", *SPENT), 0.0)
        self._restart(self._since)

    def start(self) -> None:
        """Start the clock, just before the first step."""
        self._since = time.perf_counter()

    def _restart(self, now: float) -> None:
        """Reset everything except the totals and the sequence of skipped steps; the clock keeps running."""
        self._steps: list[Tensor] = []
        self._longest = self._in_a_row
        self._moments = torch.zeros(3, self._channels, device=self._process.device, dtype=torch.float64)
        self._spent, self._since = dict.fromkeys(SPENT, 0.0), now

    @property
    def steps(self) -> int:
        """Number of steps since the last reading."""
        return len(self._steps)

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Count the time within the block as spent on one of `SPENT`."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._spent[name] += seconds
        self._totals[name] += seconds

    def see(self, latents_BCHW: Tensor) -> None:
        """Record normalised latents."""
        flat = latents_BCHW.double().transpose(0, 1).flatten(1)
        count = torch.full_like(self._moments[0], flat.shape[1])
        self._moments += torch.stack([count, flat.sum(1), flat.square().sum(1)])

    def step(self, loss: Tensor, norm: Tensor, finite: Tensor) -> None:
        """Record a step's loss, its gradient norm, and whether that is finite, each a scalar."""
        self._in_a_row = (self._in_a_row + 1) * finite.logical_not()
        self._longest = torch.maximum(self._longest, self._in_a_row)
        self._steps.append(torch.stack([loss.float(), norm.float(), finite.logical_not().float()]))

    def read(self) -> MetricsWindow:
        """Wait for the device and return all metrics since the last reading; needs at least one step."""
        table = torch.stack(self._steps, dim=1)
        if self._process.world_size > 1:
            distributed.all_reduce(table[0], op=distributed.ReduceOp.SUM)
            table[0] /= self._process.world_size
        losses, norms, skipped = table.tolist()
        count, total, squares = self._moments
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        now = time.perf_counter()
        self._totals["seconds"] += now - self._since
        read = MetricsWindow(
            losses=losses,
            norms=norms,
            skipped=[bool(skip) for skip in skipped],
            in_a_row=int(self._longest.item()),
            mean=mean.tolist(),
            std=std.tolist(),
            seconds=now - self._since,
            spent=self._spent,
            totals=dict(self._totals),
        )
        self._restart(now)
        return read


def finite_or_none(value: float) -> float | None:
    """A number for JSON, which has no NaN; None if it is not finite."""
    return value if math.isfinite(value) else None
