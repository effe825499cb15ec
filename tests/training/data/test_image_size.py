"""One size of all images: which one it is, and what to do where there are several or the network has no shape."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.config.model import LATENT_FACTOR, ModelConfig
from training.data.image_size import check_multiple, one_shape, reduction


def index(*sizes: tuple[int, int]) -> pa.Table:
    """Rows of images with these heights and widths."""
    return pa.Table.from_pylist(
        [{"key": f"k{number}", "height": height, "width": width} for number, (height, width) in enumerate(sizes)]
    )


def test_one_size_is_height_and_width() -> None:
    assert one_shape(index((64, 96), (64, 96)), "shard") == (64, 96)


@pytest.mark.parametrize("other", [(64, 64), (96, 96), (96, 64)])
def test_the_first_image_of_another_size_is_named(other: tuple[int, int]) -> None:
    with pytest.raises(HistodsError) as error:
        one_shape(index((64, 96), (64, 96), other, (8, 8)), "run 'histods shard'")
    assert str(error.value).startswith(
        f"k0 is 96x64 and k2 is {other[1]}x{other[0]}, but all images must have one size"
    )
    assert str(error.value).endswith("audit these, then run 'histods shard'.")


def test_a_size_that_the_network_can_halve_is_taken() -> None:
    check_multiple(64, 96, 32, (1, 2, 4), Path("out"))


@pytest.mark.parametrize("size", [(65, 96), (64, 80), (16, 16)])
def test_another_one_is_refused_with_both_ways_out(size: tuple[int, int]) -> None:
    with pytest.raises(HistodsError) as error:
        check_multiple(*size, 32, (1, 2, 4), Path("out"))
    text = str(error.value)
    assert f"The images in out are {size[1]}x{size[0]}, but model.dim_mults = [1, 2, 4]" in text
    assert "multiples of 32 px" in text
    assert text.endswith("or give fewer model.dim_mults.")


@given(
    cells=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    levels=st.integers(1, 3),
    side=st.integers(1, 600),
)
def test_images_are_reduced_by_the_least_factor_that_fits(cells: tuple[int, int], levels: int, side: int) -> None:
    model = ModelConfig(dim=8, dim_mults=(1, 2, 4)[:levels])
    multiple = LATENT_FACTOR * model.size_multiple
    height, width = (cell * multiple for cell in cells)
    fits = [
        factor
        for factor in range(1, max(cells) + 1)
        if max(height, width) <= side * factor
        and not (height % (factor * multiple) or width % (factor * multiple))
    ]
    assert reduction((height, width), model, side) == min(fits, default=1)
