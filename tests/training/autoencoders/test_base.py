"""Autoencoders: those of diffusers give what diffusers gives, and damage is named."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from histods.errors import HistodsError, MissingExtraError
from tests.training.autoencoders.images import in_range, patches
from training.autoencoders.base import DiffusersAutoencoder, load_autoencoder
from training.autoencoders.linear import LinearAutoencoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def kl() -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return (
        AutoencoderKL(
            block_out_channels=(4, 4, 8, 8),
            norm_num_groups=2,
            layers_per_block=1,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        .eval()
        .requires_grad_(False)
    )  # torch takes other kernels for what needs no gradient


def tiny() -> Any:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    return (
        AutoencoderTiny(
            encoder_block_out_channels=(4,) * 4,
            decoder_block_out_channels=(4,) * 4,
            num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4,
        )
        .eval()
        .requires_grad_(False)
    )  # torch takes other kernels for what needs no gradient


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder as diffusers saves an AutoencoderKL."""
    kl().save_pretrained(tmp_path / "kl")
    return tmp_path / "kl"


def test_latents_of_a_kl_autoencoder_are_the_library_s_own_without_its_scale(saved: Path) -> None:
    module, found = kl(), load_autoencoder(str(saved))
    images = in_range(patches(2))
    means, logvars = found.encode(images)
    with torch.no_grad():
        expected = module.encode(images).latent_dist
        assert torch.equal(means, expected.mean)
        assert torch.equal(logvars, expected.logvar)
        assert torch.equal(found.decode(means), module.decode(means).sample)
    assert (found.channels, found.factor, found.name) == (4, 8, str(saved))
    assert means.shape == (2, 4, 6, 8)
    assert not means.requires_grad


def test_latents_of_a_tiny_autoencoder_are_the_library_s_own_and_have_no_variance(tmp_path: Path) -> None:
    module = tiny()
    module.save_pretrained(tmp_path)
    found = load_autoencoder(str(tmp_path))
    images = in_range(patches(2))
    means, logvars = found.encode(images)
    with torch.no_grad():
        assert torch.equal(means, module.encode(images).latents)
        assert torch.equal(found.decode(means), module.decode(means).sample)
    assert bool((logvars == -30).all())
    assert (found.channels, found.factor) == (4, 8)


def test_a_pipeline_s_folder_gives_its_vae(saved: Path) -> None:
    expected = load_autoencoder(str(saved)).digest
    pipeline = saved.parent / "pipeline"
    pipeline.mkdir()
    saved.rename(pipeline / "vae")
    assert load_autoencoder(str(pipeline)).digest == expected


def test_the_digest_is_of_weights_and_configuration_alone(saved: Path) -> None:
    module = kl()
    digest = load_autoencoder(str(saved)).digest
    assert DiffusersAutoencoder(module, "elsewhere").digest == digest
    module.register_to_config(scaling_factor=0.5)
    assert DiffusersAutoencoder(module, "elsewhere").digest != digest
    changed = kl()
    with torch.no_grad():
        changed.quant_conv.bias[0] += 1e-6
    assert DiffusersAutoencoder(changed, "elsewhere").digest != digest


def test_attention_weights_under_their_older_names_are_read(saved: Path) -> None:
    """The names of most published autoencoders."""
    digest = load_autoencoder(str(saved)).digest
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for key, tensor in load_file(saved / WEIGHTS).items():
        name = key
        for new, old in older.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        tensors[name] = tensor
    assert any("proj_attn" in key for key in tensors)
    save_file(tensors, saved / WEIGHTS)
    assert load_autoencoder(str(saved)).digest == digest


def test_weights_that_are_missing_surplus_misshapen_or_torn_are_refused(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS)
    whole = (saved / WEIGHTS).read_bytes()

    def verdict() -> str:
        return refusal(lambda: load_autoencoder(str(saved)))

    save_file({key: tensor for key, tensor in tensors.items() if key != "quant_conv.bias"}, saved / WEIGHTS)
    assert verdict() == (
        f"The weights in {saved} do not match its config.json: 1 differ "
        "(missing quant_conv.bias); download them again."
    )
    save_file({**tensors, "foo": torch.zeros(1)}, saved / WEIGHTS)
    assert "(unexpected foo)" in verdict()
    save_file({**tensors, "quant_conv.bias": torch.zeros(3)}, saved / WEIGHTS)
    assert verdict().startswith(f"The weights of the AutoencoderKL in {saved} cannot be loaded: ")
    (saved / WEIGHTS).write_bytes(whole[:-100])
    assert verdict().startswith(f"The weights of the AutoencoderKL in {saved} cannot be loaded: ")
    (saved / WEIGHTS).unlink()
    assert verdict().startswith(f"The weights of the AutoencoderKL in {saved} cannot be loaded: ")


def test_pickled_weights_are_not_read(saved: Path) -> None:
    torch.save(load_file(saved / WEIGHTS), saved / "diffusion_pytorch_model.bin")
    (saved / WEIGHTS).unlink()
    assert refusal(lambda: load_autoencoder(str(saved))).startswith("The weights of the AutoencoderKL in ")


def test_a_missing_folder_another_model_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert refusal(lambda: load_autoencoder(str(missing))) == (
        f"There is no folder {missing}; check the path, or give 'linear' or a hub id (OWNER/NAME)."
    )
    assert refusal(lambda: load_autoencoder(str(tmp_path))) == (
        f"{tmp_path} holds no autoencoder: it has neither autoencoder.json nor config.json; check the folder."
    )
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    assert refusal(lambda: load_autoencoder(str(tmp_path))) == (
        f"{tmp_path} holds UNet2DModel, not AutoencoderKL or AutoencoderTiny; choose another folder."
    )


def test_a_hub_id_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = refusal(lambda: load_autoencoder("nobody/no-such-autoencoder"))
    assert text.startswith(
        "There is no folder nobody/no-such-autoencoder, and it cannot be downloaded from the hub either: "
    )
    assert text.endswith("; download it elsewhere and give its folder.")


def test_a_hub_id_is_what_the_hub_gives(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns[0]))
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    found = load_autoencoder("owner/name")
    assert asked == [("owner/name", "config.json")]
    assert found.name == "owner/name"
    assert found.digest == load_autoencoder(str(saved)).digest


def test_without_diffusers_the_pip_command_is_given(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in (str(saved), "owner/name"):
        with pytest.raises(MissingExtraError) as caught:
            load_autoencoder(name)
        assert str(caught.value) == (
            f"The autoencoder {name} needs diffusers, which is not installed; "
            "run \"pip install 'histods[train]'\"."
        )
    LinearAutoencoder.fit([patches()]).save(saved)  # needs neither
    assert load_autoencoder(str(saved)).name == "linear"
