"""Pretrained encoders: the same features as transformers computes, and folders that hold something else."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from histods.errors import HistodsError, MissingExtraError
from training.evaluation.features.base import load_features
from training.evaluation.features.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS = "model.safetensors"
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SQUARE = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32},
    "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.6], "image_std": [0.2, 0.3, 0.25],
}  # fmt: skip
CROPPED = {
    **SQUARE, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 36}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
}  # fmt: skip


def vit() -> Any:
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**SMALL))


def dinov2() -> Any:
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(**SMALL))


def convnext() -> Any:
    from transformers import ConvNextConfig, ConvNextModel

    return ConvNextModel(ConvNextConfig(hidden_sizes=[4, 8, 8, 12], depths=[1, 1, 1, 1]))


def clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    text = {**SMALL, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=12))


def save(module: Any, folder: Path, preprocessor: dict[str, Any]) -> Path:
    module.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny ViT of random weights."""
    torch.manual_seed(0)
    return save(vit(), tmp_path_factory.mktemp("encoder") / "vit", SQUARE)


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return shutil.copytree(saved, tmp_path / "copy")


def images(number: int = 3, height: int = 50, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def refusal(name: str | Path) -> str:
    with pytest.raises(HistodsError) as caught:
        load_features(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("preprocessor", [SQUARE, CROPPED], ids=["square", "cropped"])
@pytest.mark.parametrize(
    ("make", "of_images"),
    [
        (vit, lambda module, x: module(x).last_hidden_state[:, 0]),
        (dinov2, lambda module, x: module(x).pooler_output),
        (convnext, lambda module, x: module(x).pooler_output),
        (clip, lambda module, x: module.visual_projection(module.vision_model(x).pooler_output)),
    ],
    ids=["vit", "dinov2", "convnext", "clip"],
)
def test_features_are_those_of_the_models_own_processor_and_network(
    make: Callable[[], Any],
    of_images: Callable[[Any, torch.Tensor], torch.Tensor],
    preprocessor: dict[str, Any],
    tmp_path: Path,
) -> None:
    from transformers import BitImageProcessorPil, ViTImageProcessorPil

    torch.manual_seed(1)
    module = make().eval()
    encoder = load_features(str(save(module, tmp_path / "model", preprocessor)))
    kind = ViTImageProcessorPil if preprocessor is SQUARE else BitImageProcessorPil
    processed = kind.from_pretrained(tmp_path / "model")(list(images()), return_tensors="pt")
    with torch.no_grad():
        expected = of_images(module, processed["pixel_values"]).numpy()
    found = encoder(images())
    assert found.dtype == np.float32
    assert found.shape == (3, encoder.width)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_tensors_and_arrays_are_accepted_and_others_refused(saved: Path) -> None:
    encoder = load_features(str(saved))
    np.testing.assert_array_equal(encoder(images()), encoder(torch.from_numpy(images())))
    with pytest.raises(HistodsError, match=r"uint8 \[B, H, W, 3\] in RGB, but these are float32 \[1, 3, 8, 8\]"):
        encoder(torch.zeros(1, 3, 8, 8))


def test_the_digest_is_of_weights_and_preprocessing(saved: Path, copy: Path) -> None:
    first = load_features(str(saved)).digest
    assert load_features(str(copy)).digest == first
    (copy / "preprocessor_config.json").write_text(json.dumps({**SQUARE, "resample": 3}))
    assert load_features(str(copy)).digest != first
    shutil.copy(saved / "preprocessor_config.json", copy)
    tensors = load_file(copy / WEIGHTS)
    tensors["layernorm.bias"] += 1
    save_file(tensors, copy / WEIGHTS, {"format": "pt"})
    assert load_features(str(copy)).digest != first


def test_loading_says_nothing_and_leaves_messages_as_they_were(
    saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_features(str(saved))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_weights_that_are_missing_or_too_many_are_named(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    name = "layernorm.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, copy / WEIGHTS, {"format": "pt"})
    assert refusal(copy) == (
        f"The weights in {copy} do not match its config.json: 1 differ (missing {name}); download them again."
    )
    save_file({**tensors, "classifier.bias": torch.zeros(2)}, copy / WEIGHTS, {"format": "pt"})
    assert refusal(copy) == (
        f"The weights in {copy} do not match its config.json: 1 differ (unexpected classifier.bias); "
        "download them again."
    )


def test_a_pooler_beside_the_class_token_may_be_missing(saved: Path, copy: Path) -> None:
    tensors = {key: value for key, value in load_file(copy / WEIGHTS).items() if not key.startswith("pooler.")}
    assert len(tensors) < len(load_file(copy / WEIGHTS))
    save_file(tensors, copy / WEIGHTS, {"format": "pt"})
    found = load_features(str(copy))
    np.testing.assert_array_equal(found(images()), load_features(str(saved))(images()))
    assert found.digest == load_features(str(copy)).digest


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    tensors = {**load_file(copy / WEIGHTS), "layernorm.weight": torch.ones(8)}
    save_file(tensors, copy / WEIGHTS, {"format": "pt"})
    text = refusal(copy)
    assert text.startswith((f"The vit in {copy} cannot be loaded: ", f"The weights in {copy} do not match"))


def test_truncated_and_missing_weights_are_named(copy: Path) -> None:
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(content[: len(content) // 2])
    assert refusal(copy).startswith(f"The vit in {copy} cannot be loaded: ")
    (copy / WEIGHTS).unlink()
    assert refusal(copy).startswith(f"The vit in {copy} cannot be loaded: ")


def test_pickled_tensors_are_read_but_pickled_code_never_runs(saved: Path, copy: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (type(tmp_path).touch, (tmp_path / "ran",))

    tensors = load_file(copy / WEIGHTS)
    (copy / WEIGHTS).unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    assert load_features(str(copy)).digest == load_features(str(saved)).digest
    torch.save({**tensors, "layernorm.weight": Evil()}, copy / "pytorch_model.bin")
    assert refusal(copy) == (
        f"The vit in {copy} cannot be loaded: damaged, or not tensors alone; download it again."
    )
    assert not (tmp_path / "ran").exists()


def test_a_missing_description_of_images_is_named(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    assert refusal(copy) == (
        f"{copy} has no preprocessor_config.json, which says the size and colours that the encoder needs; "
        "download it, too."
    )


def test_a_size_that_the_network_refuses_is_named(copy: Path) -> None:
    (copy / "preprocessor_config.json").write_text(json.dumps({**SQUARE, "size": {"height": 48, "width": 48}}))
    assert refusal(copy).startswith(f"The encoder in {copy} cannot compute features of images (")


def test_a_model_of_texts_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    text = {key: value for key, value in SMALL.items() if key not in ("image_size", "patch_size")}
    save(BertModel(BertConfig(**text, vocab_size=30)), tmp_path, SQUARE)
    assert refusal(tmp_path) == (
        f"{tmp_path} holds a bert, which encodes no images; give the folder of an image encoder."
    )


def test_a_model_of_diffusers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    assert refusal(tmp_path) == (
        f"{tmp_path} holds AutoencoderKL, no encoder of transformers or timm; check the folder."
    )


def test_an_unknown_kind_of_model_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "no-such-kind"}))
    assert refusal(copy).startswith(f"The no-such-kind in {copy} cannot be loaded: ")


def test_without_transformers_or_timm_the_pip_command_is_given(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("transformers", "timm", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in (str(copy), "owner/name"):
        with pytest.raises(MissingExtraError) as caught:
            Encoder.load(name)
        assert str(caught.value) == (
            f"The encoder {name} needs transformers, which is not installed; "
            "run \"pip install 'histods[encoders]'\"."
        )
    (copy / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224"}))
    with pytest.raises(MissingExtraError) as caught:
        Encoder.load(str(copy))
    assert str(caught.value) == (f'The encoder {copy} needs timm, which is not installed; run "pip install timm".')
