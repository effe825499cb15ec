"""The built-in autoencoder is exactly a projection, the same for any order of images, and damage is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from tests.training.autoencoders.images import in_range, patches
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder, is_linear

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def blocks_of(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Blocks by plain slicing: [blocks, 3, 8, 8]."""
    return np.stack(
        [
            image[:, top : top + 8, left : left + 8]
            for image in images
            for top in range(0, image.shape[1], 8)
            for left in range(0, image.shape[2], 8)
        ]
    )


def test_decoding_what_was_encoded_projects_blocks_onto_their_leading_components() -> None:
    images = patches()
    linear = LinearAutoencoder.fit([images])
    pixels = in_range(images).double().numpy()
    blocks = blocks_of(pixels).reshape(-1, 192)
    mean = blocks.mean(axis=0)
    _, sizes, axes = np.linalg.svd(blocks - mean, full_matrices=False)
    expected = (blocks - mean) @ axes[:4].T @ axes[:4] + mean
    means, logvars = linear.encode(in_range(images))
    decoded = linear.decode(means).double().numpy()
    np.testing.assert_allclose(blocks_of(decoded).reshape(-1, 192), expected, atol=2e-6)
    assert means.shape == logvars.shape == (6, 4, 6, 8)
    assert bool((logvars == -30).all())
    assert linear.explained == pytest.approx((sizes[:4] ** 2).sum() / (sizes**2).sum())
    # The latents are the coordinates themselves, in order of variance.
    coordinates = means.double().permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    np.testing.assert_allclose(coordinates.var(axis=0), sizes[:4] ** 2 / len(blocks), rtol=1e-5)


def test_encoding_again_what_was_decoded_changes_nothing() -> None:
    linear = LinearAutoencoder.fit([patches()])
    latents = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(linear.encode(linear.decode(latents))[0], latents, atol=1e-5, rtol=1e-5)


def test_batches_and_order_of_images_change_no_bit() -> None:
    images = patches(12)
    alone = LinearAutoencoder.fit(images[None, row].squeeze(0)[None] for row in range(12))
    together = LinearAutoencoder.fit([images])
    reversed_ = LinearAutoencoder.fit(torch.split(images.flip(0), 5))
    for other in (together, reversed_):
        assert torch.equal(alone.components, other.components)
        assert torch.equal(alone.mean, other.mean)
        assert (alone.digest, alone.explained) == (other.digest, other.explained)
    largest = alone.components.flatten(1).abs().argmax(dim=1)
    assert bool((alone.components.flatten(1)[range(4), largest] > 0).all())


def test_sides_that_are_no_multiples_of_8_are_refused() -> None:
    linear = LinearAutoencoder.fit([patches()])
    message = "The images are 50x48, but their sides must be multiples of 8; crop or resize them."
    assert refusal(lambda: linear.encode(torch.zeros(1, 3, 48, 50))) == message
    assert refusal(lambda: LinearAutoencoder.fit([torch.zeros(1, 3, 48, 50, dtype=torch.uint8)])) == message
    assert refusal(lambda: LinearAutoencoder.fit([])).startswith(
        "There are no images to fit the linear autoencoder to"
    )


def test_one_colour_is_kept_exactly() -> None:
    images = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    linear = LinearAutoencoder.fit([images])
    assert linear.explained == 1
    torch.testing.assert_close(linear.decode(linear.encode(in_range(images))[0]), in_range(images))


def test_what_is_saved_is_loaded_bit_for_bit_and_the_same_bytes_are_written_again(tmp_path: Path) -> None:
    linear = LinearAutoencoder.fit([patches()])
    linear.save(tmp_path / "one")
    loaded = load_autoencoder(str(tmp_path / "one"))
    assert isinstance(loaded, LinearAutoencoder)
    assert torch.equal(loaded.components, linear.components)
    assert torch.equal(loaded.mean, linear.mean)
    assert (loaded.digest, loaded.explained, loaded.name) == (linear.digest, linear.explained, "linear")
    loaded.save(tmp_path / "two")
    for name in ("autoencoder.json", "autoencoder.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_other_weights_have_another_digest() -> None:
    linear = LinearAutoencoder.fit([patches()])
    moved = linear.components.clone()
    moved[0, 0, 0, 0] += 1e-6
    assert LinearAutoencoder(moved, linear.mean, explained=1).digest != linear.digest
    assert LinearAutoencoder.fit([patches(seed=1)]).digest != linear.digest


def test_damaged_linear_autoencoders_are_refused(tmp_path: Path) -> None:
    LinearAutoencoder.fit([patches()]).save(tmp_path)
    weights = tmp_path / "autoencoder.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert refusal(lambda: load_autoencoder(str(tmp_path))) == (
        f"{weights} does not hold the weights that autoencoder.json describes; run 'histods encode' again."
    )
    weights.write_bytes(whole[:-9])
    assert refusal(lambda: load_autoencoder(str(tmp_path))).startswith(
        f"The linear autoencoder in {tmp_path} cannot be read: "
    )
    weights.unlink()
    assert "run 'histods encode' again" in refusal(lambda: load_autoencoder(str(tmp_path)))


def test_a_folder_of_it_is_known_once_it_is_complete(tmp_path: Path) -> None:
    assert not is_linear(tmp_path)
    LinearAutoencoder.fit([patches(1)]).save(tmp_path)
    assert is_linear(tmp_path)
