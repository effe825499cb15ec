"""Images follow their labels, so that a model can learn one from the other; slides differ in stain."""

from __future__ import annotations

import numpy as np

from histods.synthetic.stain import render
from histods.synthetic.tissue import make_patch


def test_the_colour_of_a_pixel_follows_from_its_label() -> None:
    patches = [make_patch(0, index, size=96) for index in range(60)]
    pixels = np.concatenate([patch.image.reshape(-1, 3) for patch in patches]).astype(float)
    labels = np.concatenate([patch.mask.ravel() for patch in patches])
    pixels, labels = pixels[labels > 0], labels[labels > 0]
    means = {label: pixels[labels == label].mean(axis=0) for label in np.unique(labels)}
    explained = np.array([means[label] for label in labels])
    share = 1 - np.square(pixels - explained).sum() / np.square(pixels - pixels.mean(axis=0)).sum()
    assert share > 0.4
    assert means[1].min() > 215  # background is nearly white
    assert means[28][0] > means[28][2] > means[28][1]  # dermis is pink


def test_all_tissues_have_colours_of_their_own() -> None:
    means = []
    for label in range(1, 55):
        tissue = np.full((48, 48), label, np.uint8)
        image = render(np.random.default_rng(0), tissue, np.zeros(3, np.float32))
        assert image.shape == (48, 48, 3)
        assert image.dtype == np.uint8
        means.append(image.reshape(-1, 3).mean(axis=0))
    apart = np.linalg.norm(np.array(means)[:, None] - np.array(means), axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 0.5


def test_more_stain_is_darker_and_the_same_generator_gives_the_same_pixels() -> None:
    tissue = np.full((32, 32), 28, np.uint8)
    pale, same, dark = (
        render(np.random.default_rng(3), tissue, np.full(3, amount, np.float32)) for amount in (-2, -2, 2)
    )
    assert np.array_equal(pale, same)
    assert pale.mean() > dark.mean() + 5
