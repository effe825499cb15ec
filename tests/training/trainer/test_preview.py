"""Previews: the same picture for the same weights, of masks that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.trained_runs import make_trainer
from training.inference.pictures import coloured
from training.trainer.preview import Preview

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from training.trainer.loop import Trainer

SIZE, GAP = 48, 8


@pytest.fixture
def trainer(folder: Path, tmp_path: Path) -> Trainer:
    return make_trainer(tmp_path, folder, "run.preview_samples=3", "run.preview_steps=3")


def masks() -> Tensor:
    """Six masks of 1, 1, 3, 2, 3 and 3 classes, of which the first two are equal, and the third and the fifth."""
    made = torch.zeros(6, 1, SIZE, SIZE, dtype=torch.uint8)
    made[2, :, 8:20], made[2, :, 20:30] = 1, 2
    made[3, :, :, 5:] = 1
    made[4] = made[2]
    made[5, :, :4], made[5, :, 44:] = 2, 1
    return made


def picture(trainer: Trainer, step: int) -> NDArray[np.uint8]:
    return np.asarray(Image.open(trainer.folder / "samples" / f"step-{step:08d}.png"))


def cells(page: NDArray[np.uint8], row: int) -> list[NDArray[np.uint8]]:
    top = GAP + row * (SIZE + GAP)
    lefts = range(GAP, page.shape[1], SIZE + GAP)
    return [page[top : top + SIZE, left : left + SIZE] for left in lefts]


def test_the_same_weights_make_the_same_picture_and_others_another(trainer: Trainer) -> None:
    preview = Preview(trainer.setup, masks())
    preview(1, trainer.averaged())
    torch.manual_seed(99)
    torch.randn(1000)
    preview(2, trainer.averaged())
    Preview(trainer.setup, masks())(3, trainer.averaged())
    assert np.array_equal(picture(trainer, 1), picture(trainer, 2))
    assert np.array_equal(picture(trainer, 1), picture(trainer, 3))
    other = trainer.averaged()
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.2)
    preview(4, other)
    page, changed = picture(trainer, 1), picture(trainer, 4)
    for mask, same in zip(cells(page, 0), cells(changed, 0), strict=True):
        assert np.array_equal(mask, same)
    for image, another in zip(cells(page, 1), cells(changed, 1), strict=True):
        assert not np.array_equal(image, another)


def test_masks_of_the_most_classes_stand_above_their_images_each_once(trainer: Trainer) -> None:
    Preview(trainer.setup, masks())(7, trainer.averaged())
    page = picture(trainer, 7)
    assert page.shape == (2 * (SIZE + GAP) + GAP, 3 * (SIZE + GAP) + GAP, 3)
    shown = cells(page, 0)
    expected = [coloured(masks()[row, 0].numpy()) for row in (2, 5, 3)]
    for found, mask in zip(shown, expected, strict=True):
        assert np.array_equal(found, mask)
    images = cells(page, 1)
    assert len({image.tobytes() for image in images}) == 3
    assert all(image.std() > 1 for image in images)


def test_where_few_masks_differ_there_are_few_columns(trainer: Trainer) -> None:
    Preview(trainer.setup, masks()[:2])(1, trainer.averaged())
    assert picture(trainer, 1).shape[1] == GAP + SIZE + GAP


def test_images_do_not_depend_on_their_neighbours(trainer: Trainer) -> None:
    """One mask has the noise of the first column, whoever stands beside it."""
    Preview(trainer.setup, masks())(1, trainer.averaged())
    Preview(trainer.setup, masks()[2:3])(2, trainer.averaged())
    first, alone = cells(picture(trainer, 1), 1)[0], cells(picture(trainer, 2), 1)[0]
    assert np.abs(first.astype(int) - alone).max() <= 1  # kernels of another batch round otherwise


def test_training_is_not_disturbed(trainer: Trainer) -> None:
    preview = Preview(trainer.setup, masks())
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    preview(1, trainer.averaged())
    assert trainer.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert all(weight.grad is None for weight in trainer.model.parameters())
