"""FID's Inception network: the same features as torch-fidelity computes with the same weights."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from tests.training.evaluation.fidelity import formulas
from training.evaluation.features.base import load_features
from training.evaluation.features.inception import InceptionV3, resize_like_tensorflow

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights, under which neither signal nor normalisation is trivial."""
    torch.manual_seed(0)
    network = InceptionV3()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.8, 1.2)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.1)
        elif name.endswith("conv.weight"):
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def images(number: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, height, width, 3), dtype=np.uint8)


def test_features_are_those_of_torch_fidelity(weights: Path) -> None:
    own = load_features(f"inception={weights}")
    make = formulas("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    other = make("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    for height, width in ((64, 40), (320, 310)):
        pixels = images(2, height, width)
        [expected] = other(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        found = own(pixels)
        assert found.shape == (2, own.width)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)
        assert found.std() > 0.1


def test_images_are_resized_with_corners_at_0() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 2, 4)
    torch.testing.assert_close(
        resize_like_tensorflow(ramp, 8)[0, 0, 0], torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0])
    )
    torch.testing.assert_close(resize_like_tensorflow(ramp, 2)[0, 0, 0], torch.tensor([0.0, 2.0]))


def test_the_digest_is_of_the_weights_whatever_the_file(weights: Path, tmp_path: Path) -> None:
    tensors = torch.load(weights, weights_only=True)
    torch.save({name: one for name, one in tensors.items() if "num_batches" not in name}, tmp_path / "older.pt")
    first = load_features(str(weights)).digest
    assert load_features(str(tmp_path / "older.pt")).digest == first
    tensors["Mixed_7c.branch_pool.bn.bias"] += 1
    torch.save(tensors, tmp_path / "other.pth")
    assert load_features(str(tmp_path / "other.pth")).digest != first


def test_other_files_are_named(weights: Path, tmp_path: Path) -> None:
    def refusal(content: object, name: str = "file.pth") -> str:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(HistodsError) as caught:
            load_features(str(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    tensors = torch.load(weights, weights_only=True)
    end = "download pt_inception-2015-12-05-6726825d.pth."
    missing = {name: one for name, one in tensors.items() if name != "fc.bias"}
    begin = f"{tmp_path / 'file.pth'} does not hold FID's Inception network: "
    assert refusal(missing) == f"{begin}1 weights differ (no fc.bias); {end}"
    assert refusal({**tensors, "more": torch.zeros(1)}) == f"{begin}1 weights differ (an unknown more); {end}"
    assert refusal({**tensors, "fc.bias": torch.zeros(1000)}) == f"{begin}fc.bias is (1000,), not (1008,); {end}"
    assert "holds list, not weights by name" in refusal([torch.zeros(1)])
    unread = "cannot be read (damaged, or not tensors alone); download them again."
    assert refusal(weights.read_bytes()[:1000]).endswith(unread)
    assert refusal(pickle.dumps(print, protocol=2)).endswith(unread)
    assert "file.safetensors cannot be read (" in refusal(b"torn", "file.safetensors")
