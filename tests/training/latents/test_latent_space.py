"""The latent space: one convention, undone exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.latents.latent_space import LatentSpace

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = 4
numbers = st.floats(-20, 20)
scales = st.builds(lambda size, sign: size * sign, st.floats(0.01, 10), st.sampled_from([-1, 1]))
columns = st.lists(numbers, min_size=CHANNELS, max_size=CHANNELS).map(tuple)
widths = st.lists(st.floats(0.05, 20), min_size=CHANNELS, max_size=CHANNELS).map(tuple)
spaces = st.one_of(
    st.builds(LatentSpace, scale=scales, shift=numbers, mean=columns, std=widths),
    st.builds(LatentSpace, scale=scales, shift=numbers, clip=st.sampled_from([None, 1.0])),
    st.builds(lambda mean, std: LatentSpace.preset("default", mean=mean, std=std), columns, widths),
    st.sampled_from([LatentSpace.preset("paper"), LatentSpace.preset("fork")]),
)


def latents(seed: int = 0, batch: int = 2) -> Tensor:
    return 10 * torch.randn(batch, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(seed))


@given(spaces, st.integers(0, 2**31))
@settings(deadline=None)
def test_denormalise_undoes_normalise(space: LatentSpace, seed: int) -> None:
    z = latents(seed)
    offset = max(abs(space.shift - mean) for mean in space.mean or (0.0,)) / abs(space.scale)
    rounding = 4 * torch.finfo(torch.float32).eps * (z.abs().max().item() + offset)
    torch.testing.assert_close(space.denormalise(space.normalise(z)), z, rtol=0, atol=rounding)


@given(spaces, st.integers(0, 2**31))
@settings(deadline=None)
def test_normalise_is_the_formula(space: LatentSpace, seed: int) -> None:
    z = latents(seed)
    mean = torch.tensor(space.mean or [0.0] * CHANNELS, dtype=torch.float64)[:, None, None]
    std = torch.tensor(space.std or [1.0] * CHANNELS, dtype=torch.float64)[:, None, None]
    expected = (z.double() * space.scale + space.shift - mean) / std
    torch.testing.assert_close(space.normalise(z).double(), expected, rtol=1e-5, atol=1e-4)


def test_presets_are_the_conventions_they_are_named_after() -> None:
    z = latents()
    torch.testing.assert_close(LatentSpace.preset("paper").normalise(z), z / 50)
    torch.testing.assert_close(LatentSpace.preset("fork").normalise(z), 2 * (0.18215 * z) - 1)
    default = LatentSpace.preset("default", mean=[0.0] * CHANNELS, std=[1.0] * CHANNELS)
    assert [LatentSpace.preset("paper").clip, LatentSpace.preset("fork").clip, default.clip] == [1, 1, None]
    assert [LatentSpace.preset("paper").image_low, LatentSpace.preset("fork").image_low] == [-1, 0]
    assert default.image_low == -1


def test_default_makes_mean_0_and_deviation_1_of_every_channel() -> None:
    z = (
        latents(batch=16) * torch.tensor([0.1, 1, 5, 20])[:, None, None]
        + torch.tensor([3, -2, 0, 9])[:, None, None]
    )
    mean, std = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3), correction=0)
    x = LatentSpace.preset("default", mean=mean.tolist(), std=std.tolist()).normalise(z)
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(CHANNELS), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.std(dim=(0, 2, 3), correction=0), torch.ones(CHANNELS), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stored_half_precision_is_seen_in_float32(dtype: torch.dtype) -> None:
    z = latents().to(dtype)
    space = LatentSpace.preset("paper")
    assert torch.equal(space.normalise(z), space.normalise(z.float()))
    assert space.normalise(z).dtype == space.denormalise(z).dtype == torch.float32


@given(spaces)
@settings(deadline=None)
def test_a_checkpoint_gives_back_the_same_space(space: LatentSpace) -> None:
    assert LatentSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_whitening_for_other_channels_is_refused() -> None:
    space = LatentSpace.preset("default", mean=[0.0] * 3, std=[1.0] * 3)
    for turn in (space.normalise, space.denormalise):
        with pytest.raises(HistodsError, match="latents have 4 channels, but the latent space has 3;"):
            turn(latents())


@pytest.mark.parametrize(
    "values",
    [
        {"scale": 0.0},
        {"scale": float("nan")},
        {"shift": float("inf")},
        {"mean": (0.0,)},
        {"mean": (0.0, 1.0), "std": (1.0, 0.0)},
        {"mean": (0.0,), "std": (float("nan"),)},
        {"mean": (float("nan"),), "std": (1.0,)},
        {"clip": 0.0},
        {"image_low": 0.5},
    ],
)
def test_a_map_without_an_inverse_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HistodsError, match="^A latent space needs "):
        LatentSpace(**values)


@pytest.mark.parametrize("name", ["default", "Paper", ""])
def test_presets_that_do_not_exist_or_lack_statistics_are_refused(name: str) -> None:
    with pytest.raises(HistodsError, match=r"default \(with mean and std\), paper or fork"):
        LatentSpace.preset(name)


@pytest.mark.parametrize("change", [{"colour": 1}, {"scale": "wide"}, {"mean": None}, {"std": 3}])
def test_what_is_no_latent_space_is_refused(change: dict[str, object]) -> None:
    document = LatentSpace.preset("paper").to_json()
    with pytest.raises(HistodsError, match="The checkpoint holds no valid latent space"):
        LatentSpace.from_json(document | change)
    del document["mean"]
    with pytest.raises(HistodsError, match="The checkpoint holds no valid latent space"):
        LatentSpace.from_json(document)
