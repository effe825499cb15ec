"""Features in parts that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from histods.errors import HistodsError
from histods.records import silent
from training.evaluation import feature_cache
from training.evaluation.feature_cache import features_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor


class Grey:
    """Images of one grey level each."""

    def __init__(self, levels: list[int], digest: str = "greys") -> None:
        self.levels, self.digest = levels, digest
        self.keys = self.groups = [str(level) for level in levels]
        self.masked = False

    def __len__(self) -> int:
        return len(self.levels)

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.full((4, 4, 3), self.levels[index], dtype=np.uint8)

    def mask(self, index: int) -> NDArray[np.uint8]:
        raise NotImplementedError

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.image(index), self.mask(index)

    def select(self, indices: NDArray[np.int64]) -> Grey:
        return Grey([self.levels[index] for index in indices], "selection")


class Mean:
    """The grey level as the only feature; `killed_at` ends it after so many calls."""

    name = digest = "mean"
    width = 1

    def __init__(self, killed_at: int | None = None) -> None:
        self.calls, self._killed_at = 0, killed_at

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:  # noqa: N803
        if self.calls == self._killed_at:
            raise KeyboardInterrupt
        self.calls += 1
        return np.asarray(images_BHW3, dtype=np.float32)[:, 0, 0, :1]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "PART", 4)


def _features(images: Grey, extract: Mean, folder: Path) -> list[float]:
    found = features_of(images, extract, folder, batch=3, stage="features", progress=silent)
    assert found.dtype == np.float64
    return [float(value) for value in found[:, 0]]


def test_features_are_in_the_order_of_the_images_and_kept(tmp_path: Path) -> None:
    levels = list(range(10))
    assert _features(Grey(levels), Mean(), tmp_path) == levels
    again = Mean(killed_at=0)
    assert _features(Grey(levels), again, tmp_path) == levels


def test_a_killed_call_goes_on_with_the_part_that_it_was_at(tmp_path: Path) -> None:
    levels = list(range(10))
    with pytest.raises(KeyboardInterrupt):
        _features(Grey(levels), Mean(killed_at=3), tmp_path)  # two batches are a part
    rest = Mean()
    assert _features(Grey(levels), rest, tmp_path) == levels
    assert rest.calls == 3


def test_other_images_and_damaged_parts_are_computed_again(tmp_path: Path) -> None:
    assert _features(Grey([1, 2]), Mean(), tmp_path) == [1, 2]
    assert _features(Grey([3, 4], "others"), Mean(), tmp_path) == [3, 4]
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
    assert _features(Grey([1, 2]), Mean(), tmp_path) == [1, 2]


def test_a_part_with_another_number_in_it_is_computed_again(tmp_path: Path) -> None:
    assert _features(Grey([1, 2]), Mean(), tmp_path) == [1, 2]
    (path,) = tmp_path.rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert _features(Grey([1, 2]), Mean(), tmp_path) == [1, 2]


class Nothing(Mean):
    """Features that are no numbers for images of level 7."""

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:  # noqa: N803
        found = super().__call__(images_BHW3)
        return np.where(found == 7, np.float32(np.nan), found)


def test_features_that_are_no_numbers_are_refused_with_the_image_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="The features 'mean' of 7 are NaN"):
        _features(Grey([1, 2, 7, 3]), Nothing(), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
