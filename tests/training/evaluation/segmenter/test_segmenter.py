"""A trained segmenter: predictions, features, and its files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from tests.training.evaluation.toy_samples import Toy, fit_toy
from training.evaluation.segmenter.network import Network
from training.evaluation.segmenter.segmenter import DESCRIPTION, WEIGHTS, Segmenter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a segmenter that tells the colours apart."""
    folder = tmp_path_factory.mktemp("segmenter")
    fit_toy(folder, steps=80, batch_size=4)
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def segmenter(home: Path) -> Segmenter:
    return Segmenter.load(home)


def images(number: int = 4, side: int = 32, seed: int = 9) -> tuple[np.ndarray, np.ndarray]:
    toy = Toy(size=number, side=side, seed=seed)
    pairs = [toy[place] for place in range(number)]
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


def test_it_finds_the_classes_of_new_images_and_never_the_unknown_one(segmenter: Segmenter) -> None:
    pixels, masks = images()
    labels = segmenter.predict(pixels)
    assert labels.dtype == np.uint8
    assert labels.shape == masks.shape
    assert (labels != 0).all()
    assert (labels == masks)[masks != 0].mean() > 0.9


def test_an_ignored_class_is_not_predicted_even_where_its_logit_is_highest(segmenter: Segmenter) -> None:
    network = Network(4)
    network.state_dict()["unet.final_conv.bias"][0] = 1e3
    pixels, _ = images()
    assert (Segmenter(network, segmenter.description).predict(pixels) != 0).all()
    none = replace(segmenter.description, ignored=None)
    assert (Segmenter(network, none).predict(pixels) == 0).all()


def test_features_are_float32_and_of_each_image_alone(segmenter: Segmenter) -> None:
    pixels, _ = images()
    features = segmenter.features(pixels)
    assert features.dtype == np.float32
    assert features.shape == (4, segmenter.width)
    alone = np.concatenate([segmenter.features(pixels[place][None]) for place in range(4)])
    np.testing.assert_allclose(features, alone, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_classes_and_features_at_once_are_the_same(segmenter: Segmenter) -> None:
    pixels, _ = images()
    seen = segmenter.see(torch.from_numpy(pixels))
    np.testing.assert_array_equal(seen.labels_BHW, segmenter.predict(pixels))
    np.testing.assert_array_equal(seen.features_BD, segmenter.features(pixels))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 40), (16, 17), (31, 48)])
def test_images_of_any_size_have_a_prediction_per_pixel(segmenter: Segmenter, height: int, width: int) -> None:
    pixels = images(1, side=48)[0][:, :height, :width]
    assert segmenter.predict(pixels).shape == (1, height, width)
    assert np.isfinite(segmenter.features(pixels)).all()


def test_an_extended_image_is_judged_like_its_reflection(segmenter: Segmenter) -> None:
    cut = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    whole = np.concatenate([cut, cut[:, 22:14:-1]], axis=1)
    labels = segmenter.predict(cut)
    np.testing.assert_array_equal(labels, segmenter.predict(whole)[:, :24])
    assert len(np.unique(labels)) > 1


def test_other_arrays_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(HistodsError) as caught:
        segmenter.predict(np.zeros((2, 3, 32, 32), np.float32))
    assert str(caught.value) == (
        "Images are judged as uint8 [B, H, W, 3] in RGB, but these are float32 [2, 3, 32, 32]; convert them."
    )


def test_the_digest_is_of_the_weights(home: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    assert Segmenter.load(home).digest == segmenter.digest
    assert fit_toy(tmp_path, steps=1).digest != segmenter.digest


def test_a_damaged_or_foreign_file_is_named(home: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return shutil.copytree(home, tmp_path / name)

    folder = copy("weights")
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(HistodsError, match=r"segmenter\.safetensors is not the file that was written; remove"):
        Segmenter.load(folder)
    folder = copy("missing")
    (folder / WEIGHTS).unlink()
    with pytest.raises(HistodsError, match=r"segmenter\.safetensors cannot be read \(.*\); remove"):
        Segmenter.load(folder)
    folder = copy("version")
    document = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**document, "version": 99}))
    with pytest.raises(HistodsError, match="has a segmenter of version 99; remove"):
        Segmenter.load(folder)
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(HistodsError, match=r"describes no segmenter \(.* cannot be read as JSON .*\); remove"):
        Segmenter.load(folder)
    (folder / DESCRIPTION).write_text(json.dumps({"classes": []}))
    with pytest.raises(HistodsError, match=r"segmenter\.json describes no segmenter \(no field version\); remove"):
        Segmenter.load(folder)
