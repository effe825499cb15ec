"""The segmenter's features as one of the extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.training.evaluation.toy_samples import Toy, fit_toy
from training.evaluation.features.own import OwnFeatures

if TYPE_CHECKING:
    from pathlib import Path

    from training.evaluation.features.base import FeatureExtractor


def test_they_are_those_of_the_segmenter(tmp_path: Path) -> None:
    segmenter = fit_toy(tmp_path, steps=1)
    own: FeatureExtractor = OwnFeatures(segmenter)
    images = np.stack([Toy()[0][0], Toy()[1][0]])
    np.testing.assert_array_equal(own(images), segmenter.features(images))
    assert own(images).shape == (2, own.width)
    assert (own.name, own.digest) == ("own", segmenter.digest)
