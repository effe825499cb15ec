"""Numbers of all steps since the last time, whatever the stretches in which they are asked for."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.distributed import Process
from training.trainer.step_metrics import SPENT, MetricsWindow, StepMetrics, finite_or_none

PROCESS = Process(device=torch.device("cpu"))


def take(step_metrics: StepMetrics, finite: list[bool]) -> MetricsWindow:
    for number, good in enumerate(finite):
        loss = torch.tensor(number + 0.5 if good else math.nan)
        step_metrics.step(loss, torch.tensor(2.0 * number), torch.tensor(good))
        step_metrics.see(torch.zeros(1, 4, 2, 2))
    return step_metrics.read()


def longest(finite: list[bool]) -> int:
    """The longest series of steps that were not finite, counted in text."""
    return max(map(len, "".join(" " if good else "x" for good in finite).split()), default=0)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=5))
@settings(deadline=None)
def test_every_step_is_read_once_and_series_of_skipped_ones_go_on(
    stretches: list[list[bool]],
) -> None:
    step_metrics = StepMetrics(4, PROCESS)
    before: list[bool] = []
    for stretch in stretches:
        read = take(step_metrics, stretch)
        assert read.skipped == [not good for good in stretch]
        assert read.norms == [2.0 * number for number in range(len(stretch))]
        for number, (loss, good) in enumerate(zip(read.losses, stretch, strict=True)):
            assert loss == number + 0.5 if good else math.isnan(loss)
        begun = next((place for place, good in enumerate(reversed(before)) if good), len(before))
        assert read.in_a_row == longest(before[len(before) - begun :] + stretch)
        before += stretch


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_mean_and_deviation_are_those_of_all_latents_together(batches: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    latents = [torch.randn(count, 3, 4, 2, generator=random) * 3 + 5 for count in batches]
    step_metrics = StepMetrics(3, PROCESS)
    step_metrics.see(torch.full((1, 3, 4, 2), 1e6))
    step_metrics.step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(True))
    step_metrics.read()  # and forget
    for part in latents:
        step_metrics.see(part)
    step_metrics.step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(True))
    read, whole = step_metrics.read(), torch.cat(latents).double()
    assert read.mean == pytest.approx(whole.mean((0, 2, 3)).tolist())
    assert read.std == pytest.approx(whole.std((0, 2, 3), correction=0).tolist())


def test_equal_latents_have_no_deviation_however_large() -> None:
    step_metrics = StepMetrics(2, PROCESS)
    step_metrics.see(torch.full((3, 2, 5, 5), 1234.567))
    step_metrics.step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(True))
    assert step_metrics.read().std == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize("name", SPENT)
def test_the_time_of_a_reading_has_all_that_was_done_since_the_last(name: str) -> None:
    step_metrics = StepMetrics(4, PROCESS)
    with step_metrics.spending(name):
        time.sleep(0.03)
    first = take_one(step_metrics)
    assert 0.03 <= first.spent[name] <= first.seconds
    assert [other for other in SPENT if first.spent[other]] == [name]
    time.sleep(0.02)
    second = take_one(step_metrics)
    assert not any(second.spent.values())
    assert second.seconds >= 0.02
    assert second.totals["seconds"] == pytest.approx(first.seconds + second.seconds)
    assert second.totals[name] == first.spent[name]
    (line,) = second.lines(0, [0.1], 0, 8)
    timing = line["timing"]
    assert timing["images_per_second"] == pytest.approx(8 / second.seconds, rel=1e-3)
    assert timing["totals"][name] == pytest.approx(first.spent[name], abs=1e-3)


def take_one(step_metrics: StepMetrics) -> MetricsWindow:
    step_metrics.step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(True))
    step_metrics.see(torch.zeros(1, 4, 2, 2))
    return step_metrics.read()


def test_the_numbers_stay_tensors_until_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(*_: object) -> None:
        raise AssertionError("the host waits for the device")

    step_metrics = StepMetrics(4, PROCESS)
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    for _ in range(3):
        step_metrics.see(torch.zeros(1, 4, 2, 2))
        step_metrics.step(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(True))
    monkeypatch.undo()
    assert step_metrics.read().losses == [1, 1, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_none(value: float) -> None:
    assert finite_or_none(value) is None
    assert [finite_or_none(number) for number, _ in pairwise([0.0, -1.5, 1e300, 0])] == [0, -1.5, 1e300]
