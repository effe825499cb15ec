"""Files are written as their suffix says, and a folder appears whole or not at all."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from histods.synthetic.files import building, encode

if TYPE_CHECKING:
    from pathlib import Path

LABELS = np.arange(63, dtype=np.uint8).reshape(7, 9)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp"])
def test_labels_survive_in_formats_without_loss(suffix: str) -> None:
    with Image.open(io.BytesIO(encode(LABELS, suffix))) as image:
        np.testing.assert_array_equal(np.asarray(image), LABELS)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_lower_quality_makes_a_smaller_file(suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert (
        len(encode(noise, suffix, quality=20))
        < len(encode(noise, suffix))
        < len(encode(noise, suffix, quality=99))
    )


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with building(tmp_path / "a" / "ä") as folder:
        (folder / "x").touch()
        assert not (tmp_path / "a" / "ä").exists()
    assert [path.name for path in (tmp_path / "a").rglob("*")] == ["ä", "x"]
    (tmp_path / "empty").mkdir()
    with building(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), building(tmp_path / "demo") as folder:
        (folder / "x").touch()
        raise KeyboardInterrupt
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_in_the_way_is_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "demo"
    if kind == "file":
        place.touch()
    else:
        (place / "mine").mkdir(parents=True)
    with (
        pytest.raises(HistodsError, match="/demo is not a new or empty folder; choose another name.$"),
        building(place),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
