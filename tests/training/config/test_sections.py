"""Every setting has a range, and one outside it is named in full; a configuration is read as it was written."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.config.load import read_config
from training.config.sections import (
    MEANING,
    DataConfig,
    DiffusionConfig,
    EmaConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    flatten,
)

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = {field.name: getattr(TrainConfig(), field.name) for field in fields(TrainConfig)}
NAN, INFINITY = float("nan"), float("inf")
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("diffusion.timesteps", {"timesteps": 1}),
    ("diffusion.sampling_timesteps", {"sampling_timesteps": 0}),
    ("diffusion.sampling_timesteps", {"timesteps": 10, "sampling_timesteps": 11}),
    ("diffusion.prediction", {"prediction": "noise"}),
    ("diffusion.min_snr_gamma", {"min_snr_gamma": 0.0}),
    ("diffusion.min_v_weight", {"min_v_weight": 1.1}),
    ("diffusion.null_probability", {"null_probability": NAN}),
    ("diffusion.guidance_scale", {"guidance_scale": INFINITY}),
    ("diffusion.prediction", {"prediction": "epsilon", "zero_terminal_snr": True}),
    ("optimizer.name", {"name": "sgd"}),
    ("optimizer.lr", {"lr": 0.0}),
    ("optimizer.lr", {"lr": NAN}),
    ("optimizer.betas", {"betas": (0.9,)}),
    ("optimizer.betas", {"betas": (0.9, 1.0)}),
    ("optimizer.weight_decay", {"weight_decay": -0.1}),
    ("optimizer.clip_norm", {"clip_norm": 0.0}),
    ("optimizer.schedule", {"schedule": "cosine"}),
    ("optimizer.warmup_steps", {"warmup_steps": -1}),
    ("optimizer.pct_start", {"pct_start": 1.0}),
    ("ema.kind", {"kind": "none"}),
    ("ema.decay", {"decay": 1.0}),
    ("ema.every", {"every": 0}),
    ("ema.sigma_rel", {"sigma_rel": 0.3}),
    ("data.batch_size", {"batch_size": 0}),
    ("data.unconditional", {"unconditional": 1.5}),
    ("data.reduce", {"reduce": 65}),
    ("data.class_weights", {"class_weights": {"ä": -1.0}}),
    ("data.class_weights", {"class_weights": {"ä": INFINITY}}),
    ("data.workers", {"workers": -1}),
    ("data.workers", {"workers": 1025}),
    ("run.steps", {"steps": 0}),
    ("run.steps", {"steps": 100_000_000}),
    ("run.validate_every", {"validate_every": -1}),
    ("run.preview_steps", {"preview_steps": 0}),
    ("run.boards", {"boards": ("tensorboard", "excel")}),
    ("run.compile_mode", {"accumulate": 2, "compile_mode": "reduce-overhead"}),
    ("run.seed", {"seed": 1 << 63}),
]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=str)
def test_a_value_out_of_range_is_named_in_full_with_what_it_must_be(name: str, change: dict[str, Any]) -> None:
    section, *_ = name.split(".")
    with pytest.raises(HistodsError, match=rf"^{name} is .*; it must be .*: correct it in the configuration or"):
        replace(SECTIONS[section], **change)


def test_bounds_themselves_are_in_range() -> None:
    DiffusionConfig(timesteps=2, sampling_timesteps=2, null_probability=1.0, guidance_scale=0.0, min_v_weight=1.0)
    OptimizerConfig(betas=(0.0, 0.0), warmup_steps=0)
    EmaConfig(decay=0.0, sigma_rel=0.28)
    DataConfig(unconditional=0.0, reduce=64, workers=0, class_weights={"x": 0.0})
    RunConfig(steps=99_999_999, validate_every=0, preview_every=0, boards=(), seed=(1 << 63) - 1)


def test_a_batch_is_shared_evenly_by_the_passes_of_a_step() -> None:
    with pytest.raises(HistodsError, match="^data.batch_size is 4; it must be a multiple of run.accumulate = 3: "):
        TrainConfig(data=DataConfig(batch_size=4), run=RunConfig(accumulate=3))
    TrainConfig(data=DataConfig(batch_size=6), run=RunConfig(accumulate=3))


CONFIGS = st.builds(
    TrainConfig,
    data=st.builds(
        DataConfig,
        batch_size=st.integers(1, 512),
        splits=st.lists(st.sampled_from(["train", "fold-1", "ä", "no", "1"]), max_size=2).map(tuple),
        unconditional=st.none() | st.floats(0, 1),
        class_weights=st.dictionaries(st.sampled_from(["Tumör", "null", "a: b", "0"]), st.floats(0, 1e6)),
    ),
    optimizer=st.builds(OptimizerConfig, lr=st.floats(1e-12, 1e3), cycle_momentum=st.booleans()),
    run=st.builds(RunConfig, seed=st.integers(0, (1 << 63) - 1), boards=st.sampled_from([(), ("wandb",)])),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "config.yaml"


@settings(max_examples=25, deadline=None)
@given(config=CONFIGS)
def test_a_configuration_is_read_as_it_was_written(file: Path, config: TrainConfig) -> None:
    file.write_text(config.to_yaml(), encoding="utf-8")
    assert read_config(file, []) == config


def test_all_settings_have_one_name_each_and_those_of_meaning_are_among_them() -> None:
    names = flatten(TrainConfig())
    assert len(names) == sum(len(fields(section)) for section in SECTIONS.values())
    assert names.keys() >= MEANING
    assert names["run.steps"] == TrainConfig().run.steps
    assert not {"model.dropout", "model.attention", "run.steps", "optimizer.lr"} & MEANING
