"""`histods train`: settings as they can be typed, costs, losses, and the document; runs are other tests' work."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from histods.cli.commands.train import show_settings, show_train, train_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.verbs.train import TrainResult

pytest.importorskip("torch")


@pytest.fixture
def result() -> TrainResult:
    from training.config.sections import TrainConfig
    from training.verbs.train import TrainResult

    return TrainResult(
        folder=Path("/w/runs/first try"),
        data=None,
        splits=("train",),
        samples=10,
        validation_split=None,
        held_out=0,
        device="cpu",
        processes=1,
        config=TrainConfig(),
        latent_space={},
        step=1200,
        began=200,
        losses=tuple((step, None if step == 600 else 1 / step) for step in range(100, 700, 100)),
        skipped=3,
    )


def test_a_run_shows_its_last_losses_and_how_to_sample_from_it(
    result: TrainResult, printed: Callable[..., str]
) -> None:
    shown = printed(show_train, replace(result, map="my map.yml"))
    assert "step loss 200 0.0050 300 0.0033 400 0.0025 500 0.0020 600 not finite" in shown
    assert "3 steps were skipped, since their gradients were not finite." in shown
    assert f"Step 1,200 of {result.config.run.steps:,} is done: /w/runs/first try" in shown
    assert "histods sample --run 'first try' --masks MASKS --map 'my map.yml' -w /w" in shown
    assert "is done already" in printed(show_train, replace(result, began=1200))


def test_a_plan_shows_every_setting_as_it_can_be_typed(result: TrainResult, printed: Callable[..., str]) -> None:
    from training.config.load import read_config

    shown = printed(show_settings, result.config)
    for section in result.config.__dataclass_fields__:
        shown = shown.replace(f" {section}: ", f"\n{section}: ")
    settings = []
    for line in shown.splitlines():
        section, _, values = line.partition(": ")
        settings += [f"{section}.{value.strip()}" for value in re.split(r", (?=\w+=)", values)]
    assert read_config(None, settings) == result.config


def test_costs_are_in_units_that_fit(result: TrainResult, printed: Callable[..., str]) -> None:
    from training.model.cost import TrainingCost

    plan: dict[str, Any] = {"parameters": 1_234_567, "null_parameters": 0, "flops_per_image": 3 * 10**9}
    plan |= {"memory_bytes": 5 * 10**8, "matrix_rate": 2.5e12}
    for seconds, said in ((90, "90 s"), (600, "10 min"), (36_000, "10.0 h")):
        shown = printed(show_train, replace(result, plan=TrainingCost(seconds=seconds, **plan)))
        assert f"time expected {said}" in shown
        assert "parameters 1,234,567" in shown
        assert shown.endswith("Next: the same command without --dry-run")


def test_the_document_is_strict_json(result: TrainResult) -> None:
    config = replace(result.config, run=replace(result.config.run, steps=7))
    document = train_document(replace(result, config=config))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["config"]["run"]["steps"] == 7
    assert again["losses"][-1] == [600, None]
    assert again["folder"] == "/w/runs/first try"
