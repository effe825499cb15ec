"""Configurations: the reference's file as it is, presets, single settings, and every slip named in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError
from training.config.load import read_config, with_classes
from training.config.presets import PRESETS
from training.config.sections import DiffusionConfig, TrainConfig

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
    assert (config.data.batch_size, config.optimizer.lr, config.diffusion.sampling_timesteps) == (
        4,
        1e-4,
        250,
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_what_is_written_is_read_back_equal(tmp_path: Path, preset: str) -> None:
    config = read_config(None, [f"preset={preset}", "model.num_classes=7", "optimizer.lr=3e-5"])
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
    assert read_config(write(tmp_path, f"optimizer: {{lr: {text}}}")).optimizer.lr == 1e-4


CORRECT = ": correct it in the configuration or with --set."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {dim: 4}", "There is no setting 'modle'; did you mean 'model'?"),
        ("model: {dims: 4}", "There is no setting 'model.dims'; did you mean 'dim'?"),
        ("model: {dim: wide}", "model.dim is 'wide'; it must be a whole number" + CORRECT),
        ("model: {dim: 4.5}", "model.dim is 4.5; it must be a whole number" + CORRECT),
        ("model: {dim: true}", "model.dim is True; it must be a whole number" + CORRECT),
        ("model: 4", "model is 4; it must be a section with keys" + CORRECT),
        ("run: {precision: fp8}", "run.precision is 'fp8'; it must be bf16 or fp32" + CORRECT),
        ("model: {dim_mults: 4}", "model.dim_mults is 4; it must be a list" + CORRECT),
        ("run: {steps: 0}", "run.steps is 0; it must be at least 1" + CORRECT),
        ("preset: defalt", "There is no preset 'defalt' among default, diffinfinite-fork, diffinfinite-paper; "
         "did you mean 'default'?"),
        ("- 1", "{path} needs sections such as 'model:', but has [1]; correct it."),
        ("", "{path} is empty; give the path of another file."),
        ("run: {accumulate: 3}",
         "data.batch_size is 4; it must be a multiple of run.accumulate = 3" + CORRECT),
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
    with pytest.raises(HistodsError, match=r"^--set '.*' is not section\.key=value; give, for example, --set run"):
        read_config(None, [setting])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="No such file or directory"):
        read_config(tmp_path / "none.yaml")


def test_the_number_of_classes_comes_from_the_data_or_must_be_theirs() -> None:
    config = with_classes(TrainConfig(), ["a", "b", "c"], "shards")
    assert config.model.num_classes == 3
    with pytest.raises(
        HistodsError, match=r"^model.num_classes is 3, but the label map in shards has 2 classes; set"
    ):
        with_classes(config, ["a", "b"], "shards")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("preset=[fork]", "There is no preset ['fork'] among default, diffinfinite-fork, diffinfinite-paper; "),
        ("optimizer.lr=1.2.3e5", "optimizer.lr is '1.2.3e5'; it must be a number: "),
        (f"optimizer.lr=1{'0' * 400}", "optimizer.lr is too large; it must be a number below 1e308: "),
        (f"run.steps=1{'0' * 400}", f"run.steps is 1{'0' * 400}; it must be at most 99,999,999: "),
        ("data.workers=1000000", "data.workers is 1000000; it must be from 0 to 1024: "),
        ("run=false", "run is False; it must be a section with keys: "),
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
    assert config.optimizer.lr == 2e-4


OLD = [
    ("diffusion: {batch_size: 12}", "diffusion.batch_size=12", "data.batch_size"),
    ("diffusion: {lr: 0.5}", "diffusion.lr=0.5", "optimizer.lr"),
    ("run: {most_skipped: 3}", "run.most_skipped=3", "run.max_skipped"),
]


@pytest.mark.parametrize(("text", "setting", "new"), OLD)
def test_settings_are_read_by_the_names_of_version_0_1(tmp_path: Path, text: str, setting: str, new: str) -> None:
    section, key = new.split(".")
    expected = read_config(None, [f"{new}={setting.split('=')[1]}"])
    assert getattr(getattr(expected, section), key) != getattr(getattr(TrainConfig(), section), key)
    assert read_config(write(tmp_path, text)) == read_config(None, [setting]) == expected
    assert read_config(write(tmp_path, text + f"\n{section}:" if section not in text else text)) == expected


def test_a_setting_under_its_old_and_its_new_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "diffusion: {lr: 0.1}\noptimizer: {lr: 0.2}")
    with pytest.raises(
        HistodsError, match="^diffusion.lr is the former name of optimizer.lr, and both are given; re"
    ):
        read_config(path)
    with pytest.raises(HistodsError, match="^optimizer is 7; it must be a section with keys"):
        read_config(write(tmp_path, "diffusion: {lr: 0.1}\noptimizer: 7"))


def test_flow_implies_values_that_all_given_ones_override(tmp_path: Path) -> None:
    alone = read_config(None, ["diffusion.prediction=flow"]).diffusion
    assert (alone.schedule, alone.levels, alone.min_snr_gamma) == ("rectified_flow", "logit_normal", None)
    path = write(tmp_path, "diffusion: {prediction: flow, levels: uniform}")
    mixed = read_config(
        path, ["diffusion.min_snr_gamma=2"], defaults={"diffusion": {"schedule": "cosine"}}
    ).diffusion
    assert (mixed.schedule, mixed.levels, mixed.min_snr_gamma) == ("cosine", "uniform", 2)
    assert read_config(write(tmp_path, read_config(path).to_yaml())) == read_config(path)
    assert read_config(None, ["diffusion.prediction=v"]).diffusion == DiffusionConfig()


@pytest.mark.parametrize("name", ["fork", "paper"])
def test_presets_are_read_by_the_names_of_version_0_1(name: str) -> None:
    assert read_config(None, [f"preset={name}"]) == read_config(None, [f"preset=diffinfinite-{name}"])
    assert read_config(None, [f"preset={name}"]) != TrainConfig()
