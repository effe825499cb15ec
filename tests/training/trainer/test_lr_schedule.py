"""The learning rate: torch's schedulers, without their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LinearLR, OneCycleLR

from histods.errors import HistodsError
from training.config.sections import OptimizerConfig
from training.trainer.lr_schedule import beta1_at, rate_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim.lr_scheduler import LRScheduler


def followed(
    make: Callable[[torch.optim.Optimizer], LRScheduler], lr: float, steps: int
) -> list[tuple[float, float]]:
    """Rate and first beta with which torch takes each step."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=lr, betas=(0.9, 0.99))
    scheduler = make(optimizer)
    seen = []
    for step in range(steps):
        group = optimizer.param_groups[0]
        seen.append((float(group["lr"]), float(group["betas"][0])))
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return seen


@given(st.integers(1, 120), st.floats(0.02, 0.98), st.floats(1e-6, 1.0), st.booleans())
@settings(deadline=None, max_examples=60)
def test_one_cycle_is_torch_s_at_every_step(steps: int, rising: float, lr: float, cycling: bool) -> None:
    assume(abs(rising * steps - 1) > 1e-9)  # where torch divides by zero
    config = OptimizerConfig(schedule="onecycle", pct_start=rising, cycle_momentum=cycling)
    expected = followed(
        lambda optimizer: OneCycleLR(
            optimizer, max_lr=lr, total_steps=steps, pct_start=rising, cycle_momentum=cycling
        ),
        lr,
        steps,
    )
    ours = [(rate_at(step, steps, lr, config), beta1_at(step, steps, config)) for step in range(steps)]
    assert ours == [pytest.approx(pair, rel=1e-9, abs=1e-18) for pair in expected]


@given(st.integers(0, 30), st.floats(1e-6, 1.0))
@settings(deadline=None, max_examples=30)
def test_constant_warms_up_as_torch_s_linear_rate(warmup: int, lr: float) -> None:
    config = OptimizerConfig(schedule="constant", warmup_steps=warmup)
    expected = followed(
        lambda optimizer: LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup), lr, 50
    )
    ours = [(rate_at(step, 50, lr, config), beta1_at(step, 50, config)) for step in range(50)]
    assert ours == [pytest.approx(pair, rel=1e-9) for pair in expected]


def test_a_constant_run_can_be_made_longer() -> None:
    config = OptimizerConfig()
    assert [rate_at(step, 100, 1.0, config) for step in range(100)] == [
        rate_at(step, 5000, 1.0, config) for step in range(100)
    ]


def test_one_cycle_turns_where_a_run_is_too_short_to_rise() -> None:
    config = OptimizerConfig(schedule="onecycle", pct_start=0.5)
    assert rate_at(0, 2, 1.0, config) == 1.0  # the turn is on the first step
    assert rate_at(1, 2, 1.0, config) == pytest.approx(4e-6)


def test_one_cycle_stays_at_its_end() -> None:
    config = OptimizerConfig(schedule="onecycle", cycle_momentum=True)
    assert rate_at(150, 100, 1.0, config) == rate_at(99, 100, 1.0, config) == pytest.approx(4e-6)
    assert beta1_at(150, 100, config) == 0.95


def test_beta_stays_unless_it_is_asked_to_cycle() -> None:
    assert {beta1_at(step, 100, OptimizerConfig(schedule="onecycle")) for step in range(100)} == {0.9}
    assert {beta1_at(step, 100, OptimizerConfig(cycle_momentum=True)) for step in range(100)} == {0.9}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"name": "sgd"}, "optimizer.name is sgd; it must be adamw or adam: correct it"),
        ({"betas": (0.9,)}, "betas"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be above 0"),
        ({"schedule": "cosine"}, "schedule is cosine; it must be constant or onecycle"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"pct_start": 0.0}, "pct_start is 0.0; it must be above 0 and below 1"),
        ({"pct_start": 1.0}, "pct_start is 1.0; it must be above 0 and below 1"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, Any], word: str) -> None:
    with pytest.raises(HistodsError, match=word):
        OptimizerConfig(**values)
