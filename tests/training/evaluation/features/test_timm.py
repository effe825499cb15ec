"""Encoders in the layout of timm: the same features as its own network computes."""

from __future__ import annotations

import importlib.abc
import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from histods.errors import HistodsError
from training.evaluation.features.base import load_features

if TYPE_CHECKING:
    from pathlib import Path

NAME = "vit_tiny_patch16_224"
ARGUMENTS = {"img_size": 32, "patch_size": 8, "init_values": 1e-5, "dynamic_img_size": True}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PRETRAINED = {"input_size": [3, 32, 32], "mean": MEAN, "std": STD, "interpolation": "bicubic", "crop_pct": 0.875}
FILTERS = ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")


class _Empty(ModuleType):
    """A module that has a class of any name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = type(name, (), {})
        setattr(self, name, found)
        return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds empty modules for torchvision, which timm needs for reading pictures, but not for its networks."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return (
            ModuleSpec(fullname, self, is_package=True)
            if fullname.split(".", maxsplit=1)[0] == "torchvision"
            else None
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module: Any = _Empty(spec.name)
        if spec.name.startswith("torchvision.transforms"):
            module.InterpolationMode = type("InterpolationMode", (), {name: name.lower() for name in FILTERS})
        made: ModuleType = module
        return made

    def exec_module(self, module: ModuleType) -> None:
        pass


@pytest.fixture(scope="module")
def timm() -> Any:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("timm")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]


@pytest.fixture
def network(timm: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=0, **ARGUMENTS).eval()


def describe(folder: Path, **changes: Any) -> None:
    config = {"architecture": NAME, "num_classes": 0, "model_args": ARGUMENTS, "pretrained_cfg": PRETRAINED}
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(HistodsError) as caught:
        load_features(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_timm_without_torchvision_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(tmp_path)
    for module in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert refusal(tmp_path) == (
        f'The encoder {tmp_path} needs torchvision, which is not installed; run "pip install torchvision".'
    )


def test_features_are_those_of_timms_network(network: Any, tmp_path: Path) -> None:
    describe(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    resized = [Image.fromarray(image).resize((36, 36), Image.Resampling.BICUBIC) for image in images]
    cropped = np.stack([np.asarray(image)[2:34, 2:34] for image in resized]) / 255
    inputs = torch.from_numpy((cropped - MEAN) / STD).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network(inputs).numpy()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    found = load_features(str(tmp_path))
    np.testing.assert_allclose(found(images), expected, atol=1e-5)
    assert found.width == 192
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert load_features(str(tmp_path)).digest == found.digest


def test_what_does_not_fit_is_named(network: Any, tmp_path: Path) -> None:
    describe(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"torn")
    assert refusal(tmp_path).startswith(f"The weights in {tmp_path / 'pytorch_model.bin'} cannot be read (")
    tensors = {key: value for key, value in network.state_dict().items() if key != "norm.bias"}
    save_file(tensors, tmp_path / "model.safetensors")
    assert 'Missing key(s) in state_dict: "norm.bias"' in refusal(tmp_path)
    describe(tmp_path, architecture="no-such-network")
    assert refusal(tmp_path).startswith(f"The no-such-network in {tmp_path} cannot be loaded: Unknown model")
