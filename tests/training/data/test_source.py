"""Sources: what is random depends on (seed, position) alone, and no range or scale of latents is mixed up."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histods import shard, split
from histods.errors import HistodsError, StaleFileError
from histods.io.workspace import Workspace
from histods.sampling.draws import InOrder
from histods.shards.images.reader import ShardReader
from histods.shards.latents.reader import LatentReader
from tests.conftest import make_site
from tests.training.autoencoders.images import patches
from tests.training.autoencoders.test_base import kl
from training.autoencoders.base import DiffusersAutoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.config.sections import DataConfig
from training.data.dataset import Batch, ShardDataset
from training.data.latent_loader import LatentBatch, LatentLoader
from training.data.source import Chance, Encoder, Source, chance_at, find_data
from training.distributed import Process
from training.inference.pictures import to_pixels
from training.latents.latent_space import LatentSpace
from training.verbs.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from training.autoencoders.base import Autoencoder

CPU = torch.device("cpu")
SAMPLES = 20_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with shards and latents in two splits, train and test."""
    site = make_site(tmp_path_factory.mktemp("source"), pairs=20)
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    encode(workspace=site.workspace, views=8)
    return Workspace(site.workspace)


def refusal(call: Callable[[], object], kind: type[HistodsError] = HistodsError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(chance: Chance) -> list[tuple[int, bool, int]]:
    return list(zip(*(column.tolist() for column in chance), strict=True))


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 2**50), min_size=1, max_size=12),
    st.integers(1, 2000),
    st.data(),
)
@settings(deadline=None, max_examples=50)
def test_chance_is_a_function_of_seed_and_position_alone(
    seed: int, places: list[int], timesteps: int, data: st.DataObject
) -> None:
    positions = torch.tensor(places)
    whole = rows(chance_at(seed, positions, timesteps, 0.3))
    order = data.draw(st.permutations(range(len(places))))
    cut = data.draw(st.integers(0, len(places)))
    shuffled = [
        row
        for part in (order[:cut], order[cut:])
        if part
        for row in rows(chance_at(seed, positions[list(part)], timesteps, 0.3))
    ]
    assert shuffled == [whole[place] for place in order]
    assert all(0 <= time < timesteps for time, *_ in whole)
    assert all(0 <= number < 2**63 for row in whole for number in row[2:])


def test_all_noise_levels_are_equally_likely() -> None:
    times = chance_at(3, torch.arange(SAMPLES), 50, 0.1).times_B
    counts = torch.bincount(times, minlength=50)
    chi_square = float(((counts - SAMPLES / 50) ** 2 / (SAMPLES / 50)).sum())
    assert chi_square < 49 + 5 * (2 * 49) ** 0.5  # five deviations above the mean of 49 degrees of freedom


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_conditions_are_dropped_with_the_probability_that_is_asked_for(probability: float) -> None:
    dropped = chance_at(3, torch.arange(SAMPLES), 1000, probability).dropped_B
    deviation = (probability * (1 - probability) / SAMPLES) ** 0.5
    assert dropped.double().mean().item() == pytest.approx(probability, abs=5 * deviation)


def test_levels_drops_and_seeds_say_nothing_about_each_other() -> None:
    three = torch.stack([column.double() for column in chance_at(3, torch.arange(SAMPLES), 1000, 0.5)])
    between = torch.corrcoef(three) - torch.eye(3)
    assert between.abs().max() < 5 / SAMPLES**0.5


def test_no_two_samples_share_a_seed() -> None:
    chance, other = (chance_at(seed, torch.arange(SAMPLES), 1000, 0.1) for seed in (3, 4))
    assert len(torch.unique(torch.cat([chance.seeds_B, other.seeds_B]))) == 2 * SAMPLES
    assert not torch.equal(chance.times_B, other.times_B)


def linear() -> Autoencoder:
    return LinearAutoencoder.fit([patches(12, 48, 48)])


def variational() -> Autoencoder:
    return DiffusersAutoencoder(kl(), "tiny")


def images_of(images: Tensor) -> Batch:
    count = len(images)
    masks = torch.zeros(count, 1, *images.shape[2:], dtype=torch.uint8)
    return Batch(images, masks, torch.full((count,), -1), torch.arange(count), torch.arange(count))


@pytest.mark.parametrize("autoencoder", [linear, variational])
@pytest.mark.parametrize("preset", ["default", "paper", "fork"])
def test_images_come_back_from_what_the_network_sees_as_from_the_autoencoder(
    autoencoder: Callable[[], Autoencoder], preset: str
) -> None:
    coder, images = autoencoder(), patches(4, 48, 48, seed=7)
    space = LatentSpace.preset(preset, mean=[0.3, -1, 2, 0], std=[0.5, 1, 3, 0.2])
    low = {"default": -1, "paper": -1, "fork": 0}[preset]
    seen = space.normalise(Encoder(coder, space.image_low, CPU).mean(images_of(images)))
    decoded = coder.decode(space.denormalise(seen))
    expected = coder.decode(coder.encode(images.double().div(255).mul(1 - low).add(low).float())[0])
    torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-4)
    pixels = to_pixels(decoded, space.image_low).astype(int)
    own = ((expected.double() - low) / (1 - low) * 255).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels - own).max() <= 1  # a rounding that falls the other way
    assert (pixels == own).mean() > 0.999


@pytest.mark.parametrize("preset", ["default", "paper", "fork"])
def test_pixels_that_the_autoencoder_can_hold_come_back_exactly(preset: str) -> None:
    greys = torch.arange(0, 256, 4, dtype=torch.uint8).reshape(1, 1, 8, 8)  # one grey a block
    images = greys.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(1, 3, 64, 64).contiguous()
    coder = LinearAutoencoder.fit([images])
    space = LatentSpace.preset(preset, mean=[1.0] * 4, std=[2.0] * 4)
    seen = space.normalise(Encoder(coder, space.image_low, CPU).mean(images_of(images)))
    pixels = to_pixels(coder.decode(space.denormalise(seen)), space.image_low)
    assert np.array_equal(pixels, images.permute(0, 2, 3, 1).numpy())


def latents_of(count: int, seed: int = 0) -> LatentBatch:
    random = torch.Generator().manual_seed(seed)
    means = torch.randn(count, 4, 6, 6, generator=random).half()
    logvars = torch.empty(count, 4, 6, 6).uniform_(-4, 1, generator=random).half()
    numbers = torch.arange(count)
    return LatentBatch(means, logvars, torch.zeros(count, 1, 48, 48, dtype=torch.uint8), *(numbers,) * 3)


def repeated(batch: Any, times: int) -> Any:
    return type(batch)(*(column.repeat(times, *(1,) * (column.ndim - 1)) for column in batch))


def test_posterior_draws_have_the_mean_and_the_variance_that_the_latents_say() -> None:
    one, draws = latents_of(1), 4000
    drawn = Encoder(None, -1, CPU).draw(repeated(one, draws), torch.arange(draws))[0].double()
    variance = one.logvars_BCHW[0].double().exp()
    bound = 5.5 * (variance / draws).sqrt()  # of 144 numbers none is further off
    assert bool(((drawn.mean(0) - one.means_BCHW[0].double()).abs() < bound).all())
    assert bool(((drawn.var(0) / variance - 1).abs() < 5.5 * (2 / draws) ** 0.5).all())


def test_images_are_drawn_from_the_posterior_of_their_autoencoder() -> None:
    coder, images = variational(), patches(1, 16, 16)
    mean, logvar = coder.encode(images.float() / 127.5 - 1)
    batch = images_of(images.expand(500, -1, -1, -1))
    drawn, _ = Encoder(coder, -1, CPU).draw(batch, torch.arange(500))
    z = (drawn - mean) / (logvar / 2).exp()
    assert z.mean().item() == pytest.approx(0, abs=5 / z.numel() ** 0.5)
    assert z.var().item() == pytest.approx(1, abs=5 * (2 / z.numel()) ** 0.5)


@given(st.integers(1, 7), st.permutations(range(6)))
@settings(deadline=None, max_examples=30)
def test_a_draw_is_the_same_whatever_else_is_in_the_batch(size: int, order: list[int]) -> None:
    batch, encoder = latents_of(6), Encoder(None, -1, CPU)
    seeds = torch.arange(100, 106)
    whole = encoder.draw(batch, seeds)
    for first in range(0, 6, size):
        chosen = order[first : first + size]
        part = LatentBatch(*(column[chosen] for column in batch))
        for drawn, all_drawn in zip(encoder.draw(part, seeds[chosen]), whole, strict=True):
            assert torch.equal(drawn, all_drawn[chosen])


def test_the_place_in_the_posterior_says_nothing_about_the_noise_to_predict() -> None:
    batch, encoder = repeated(latents_of(1), 200), Encoder(None, -1, CPU)
    latents, noise = encoder.draw(batch, torch.arange(200))
    places = (latents - encoder.mean(batch)) / (batch.logvars_BCHW.float() / 2).exp()
    both = torch.stack([places.flatten(), noise.flatten()]).double()
    assert torch.corrcoef(both)[0, 1].abs() < 5 / both.shape[1] ** 0.5


def test_latents_without_variance_are_their_means_and_the_noise_is_as_ever() -> None:
    batch, encoder, seeds = latents_of(3), Encoder(None, -1, CPU), torch.arange(3)
    still = batch._replace(logvars_BCHW=torch.full_like(batch.logvars_BCHW, -30))
    latents, noise = encoder.draw(still, seeds)
    assert torch.equal(latents, batch.means_BCHW.float())
    assert torch.equal(noise, encoder.draw(batch, seeds)[1])


def test_latents_are_preferred_to_shards_and_a_named_folder_to_both(home: Workspace, tmp_path: Path) -> None:
    assert find_data(home, None) == home.latents
    assert find_data(home, home.shards) == home.shards
    assert find_data(Workspace(tmp_path), str(home.latents)) == home.latents
    shutil.copytree(home.shards, tmp_path / "shards")
    assert find_data(Workspace(tmp_path), None) == tmp_path / "shards"
    shutil.copytree(home.latents, tmp_path / "latents")
    shutil.rmtree(tmp_path / "shards")
    assert find_data(Workspace(tmp_path), None) == tmp_path / "latents"


def test_latents_of_other_shards_are_refused(home: Workspace, tmp_path: Path) -> None:
    site = make_site(tmp_path / "other", pairs=20, seed=1)
    shard(workspace=site.workspace, map=site.map, workers=1)
    shutil.copytree(home.latents, site.workspace / "latents")
    message = refusal(lambda: find_data(Workspace(site.workspace), None), StaleFileError)
    assert "run 'histods encode --vae linear --views 8' again" in message
    # Whoever names them means them.
    assert find_data(Workspace(site.workspace), site.workspace / "latents") == site.workspace / "latents"


def test_where_there_is_nothing_the_place_and_the_command_are_named(tmp_path: Path) -> None:
    assert refusal(lambda: find_data(Workspace(tmp_path), None)) == (
        f"There is no audit in {tmp_path} yet, and there are no shards; "
        f"run 'histods audit DATASET -w {tmp_path}' first."
    )
    nothing = refusal(lambda: find_data(Workspace(tmp_path), tmp_path / "x"))
    assert nothing.startswith(f"There are no shards and no latents in {tmp_path / 'x'}; give a folder")


@pytest.mark.parametrize("kind", ["shards", "latents"])
def test_a_source_trains_on_train_and_validates_on_test_only_where_it_is_named(home: Workspace, kind: str) -> None:
    folder = getattr(home, kind)
    source = Source(folder, DataConfig())
    assert (source.splits, source.validation_split) == (("train",), None)
    assert Source(folder, DataConfig(), validates=True).validation_split is None
    assert Source(folder, DataConfig(validation_split="test"), validates=True).validation_split == "test"
    assert (source.encoded, source.image_size) == (kind == "latents", 48)
    assert len(source.reader) + len(source.read(("test",))) == 20
    keys = {source.reader.key(sample) for sample in range(len(source.reader))}
    assert keys.isdisjoint({source.read(("test",)).key(sample) for sample in range(len(source.read(("test",))))})
    swapped = Source(folder, DataConfig(splits=("test",)))
    assert (swapped.splits, swapped.validation_split) == (("test",), None)
    assert Source(folder, DataConfig(splits=("train", "test"))).validation_split is None
    for named in ("train", "nowhere"):
        words = refusal(partial(lambda name: Source(folder, DataConfig(validation_split=name)), named))
        assert f"data.validation_split is '{named}'; it must name a split that is not used for training: " in words
        assert words.endswith(f"{folder} has test.")
    assert "nowhere" in refusal(lambda: Source(folder, DataConfig(splits=("nowhere",))))


def test_without_splits_all_samples_are_trained_on(folder: Path) -> None:
    source = Source(folder, DataConfig())
    assert source.validation_split is None
    assert not source.held_out.any()
    assert len(source.reader) == len(source.samples) == 40


def test_fixed_images_are_as_they_are_stored(home: Workspace) -> None:
    source = Source(home.shards, DataConfig())
    chosen = [3, 0, 3, 7]
    batch = source.fixed(source.reader, chosen)
    assert isinstance(batch, Batch)
    assert isinstance(source.reader, ShardReader)
    stored = ShardDataset(source.reader, InOrder(size=len(source.reader)), augment=False)
    for row, sample in enumerate(chosen):
        alone = stored.batch([sample])
        assert torch.equal(batch.images_BCHW[row], alone.images_BCHW[0])
        assert torch.equal(batch.masks_BCHW[row], alone.masks_BCHW[0])
    assert batch.samples_B.tolist() == chosen


def test_fixed_latents_are_those_of_the_first_view(home: Workspace) -> None:
    source = Source(home.latents, DataConfig())
    chosen = [3, 0, 3, 7]
    batch = source.fixed(source.reader, chosen)
    assert isinstance(batch, LatentBatch)
    assert isinstance(source.reader, LatentReader)
    for row, sample in enumerate(chosen):
        stored = source.reader.read(sample, 0)
        assert np.array_equal(batch.means_BCHW[row].numpy(), stored.mean)
        assert np.array_equal(batch.logvars_BCHW[row].numpy(), stored.logvar)
        assert np.array_equal(batch.masks_BCHW[row, 0].numpy(), stored.mask)


@pytest.mark.parametrize("kind", ["shards", "latents"])
def test_keys_name_the_samples_that_batches_hold(home: Workspace, kind: str) -> None:
    source = Source(getattr(home, kind), DataConfig(workers=0))
    batches = source.batches(5, 4, Process(device=CPU))
    assert isinstance(batches, LatentLoader) == (kind == "latents")
    batch = next(iter(batches))
    assert source.keys_at(range(4)) == [source.reader.key(sample) for sample in batch.samples_B.tolist()]
