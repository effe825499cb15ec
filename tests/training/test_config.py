"""Configurations: the reference's file as it is, presets, single settings, and every slip named in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError
from training.config import PRESETS, TrainConfig, read_config, with_classes

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = """
model: {image_size: 512, dim: 256, num_classes: 5, dim_mults: [1, 2, 4], channels: 4, resnet_block_groups: 2, block_per_layer: 2}
diffusion: {timesteps: 1000, sampling_timesteps: 250, batch_size: 4, lr: 0.0001}
"""  # noqa: E501


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_a_file_of_the_reference_is_read_as_it_is(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, REFERENCE))
    assert (config.model.dim, config.model.num_classes, config.model.dim_mults) == (256, 5, (1, 2, 4))
    assert (config.diffusion.batch_size, config.diffusion.lr, config.diffusion.sampling_timesteps) == (
        4,
        1e-4,
        250,
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_what_is_written_is_read_back_equal(tmp_path: Path, preset: str) -> None:
    config = read_config(None, [f"preset={preset}", "model.num_classes=7", "diffusion.lr=3e-5"])
    assert read_config(write(tmp_path, config.to_yaml())) == config


def test_settings_stand_above_the_file_the_file_above_the_preset_and_all_above_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "preset: fork\nema: {decay: 0.9}\ndata: {workers: 3}")
    defaults = {"data": {"workers": 1, "augment": False}, "ema": {"every": 3}}
    config = read_config(path, ["data.workers=5"], defaults=defaults)
    assert config.data.workers == 5
    assert not config.data.augment
    assert config.ema.decay == 0.9
    assert config.ema.every == 10
    assert config.diffusion.prediction == "epsilon"


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "0.0001"])
def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path, text: str) -> None:
    assert read_config(write(tmp_path, f"diffusion: {{lr: {text}}}")).diffusion.lr == 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {dim: 4}", "Expected a known setting, found 'modle'; did you mean 'model'?"),
        ("model: {dims: 4}", "Expected a known setting, found 'model.dims'; did you mean 'dim'?"),
        ("model: {dim: wide}", "Expected a whole number for model.dim, found 'wide'; correct it."),
        ("model: {dim: 4.5}", "Expected a whole number for model.dim, found 4.5; correct it."),
        ("model: {dim: true}", "Expected a whole number for model.dim, found True; correct it."),
        ("model: 4", "Expected a section with keys under 'model', found 4; correct it."),
        ("run: {precision: fp8}", "Expected bf16 or fp32 for run.precision, found 'fp8'; correct it."),
        ("model: {dim_mults: 4}", "Expected a list for model.dim_mults, found 4; correct it."),
        ("run: {steps: 0}", "Expected run.steps of at least 1, found 0; correct the configuration."),
        ("preset: frok", "Expected one of the presets default, fork, paper, found 'frok'; did you mean 'fork'?"),
        ("- 1", "{path} needs sections such as 'model:', but has [1]; correct it."),
        ("", "{path} is empty; give the path of another file."),
        ("run: {accumulate: 3}", "Expected a diffusion.batch_size that run.accumulate = 3 divides, found 4; "
         "correct the configuration."),
    ],
)  # fmt: skip
def test_a_slip_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(HistodsError) as caught:
        read_config(path)
    assert str(caught.value) == message.format(path=path)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "run: {steps: 1}\nrun: {steps: 2}")
    with pytest.raises(HistodsError, match="needs each key once"):
        read_config(path)


@pytest.mark.parametrize("setting", ["steps", "run.=3", "=3", "run..steps=3"])
def test_a_setting_without_its_parts_is_refused(setting: str) -> None:
    with pytest.raises(HistodsError, match=r"^Expected --set section\.key=value, found"):
        read_config(None, [setting])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="No such file or directory"):
        read_config(tmp_path / "none.yaml")


def test_the_number_of_classes_comes_from_the_data_or_must_be_theirs() -> None:
    config = with_classes(TrainConfig(), ["a", "b", "c"], "shards")
    assert config.model.num_classes == 3
    with pytest.raises(HistodsError, match=r"to be the 2 classes of the label map in shards, found 3; set"):
        with_classes(config, ["a", "b"], "shards")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("preset=[fork]", "Expected one of the presets default, fork, paper, found"),
        ("diffusion.lr=1.2.3e5", "Expected a number for diffusion.lr, found '1.2.3e5'"),
        (f"diffusion.lr=1{'0' * 400}", "Expected a number below 1e308 for diffusion.lr"),
        (f"run.steps=1{'0' * 400}", "Expected run.steps of at most 99,999,999"),
        ("data.workers=1000000", "Expected data.workers from 0 to 1024"),
        ("run=false", "Expected a section with keys under 'run', found False"),
    ],
)
def test_strange_values_are_refused_in_words(setting: str, message: str) -> None:
    with pytest.raises(HistodsError) as caught:
        read_config(settings=[setting])
    assert str(caught.value).startswith(message)


def test_a_section_without_keys_leaves_the_preset_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("preset: fork\nmodel:\ndiffusion: {lr: 2E-4}\n")
    config = read_config(tmp_path / "config.yaml")
    assert config.model.null == "zero_mask"
    assert config.diffusion.lr == 2e-4
