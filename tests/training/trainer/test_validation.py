"""Validation: the same numbers for the same weights, from every noise level, as computed by hand."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from histods import shard, split
from histods.shards.images.reader import ShardReader
from tests.conftest import make_site
from tests.training.trained_runs import make_trainer
from training.trainer import loop
from training.trainer.validation import BUCKETS, Losses, Validation, describe_validation
from training.verbs.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from training.trainer.loop import Trainer

COUNT = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with shards and latents in two splits, train and test."""
    site = make_site(tmp_path_factory.mktemp("validation"), pairs=20)
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    encode(workspace=site.workspace, views=1)
    return site.workspace


@pytest.fixture
def trainer(home: Path, tmp_path: Path) -> Trainer:
    return make_trainer(tmp_path, home / "shards", f"run.validation_samples={COUNT}", "model.dropout=0.5")


class Spy(nn.Module):
    """Keeps what a network is asked and answers zeros, or what `answer` says."""

    def __init__(self) -> None:
        super().__init__()
        self.noisy: list[Tensor] = []
        self.times: list[Tensor] = []
        self.masks: list[Tensor] = []

    def forward(self, x: Tensor, times: Tensor, masks: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.noisy.append(x)
        self.times.append(times)
        self.masks.append(masks)
        return torch.zeros_like(x)


def test_the_same_weights_have_the_same_losses_every_time(trainer: Trainer) -> None:
    validation = Validation(trainer.setup)
    first = validation(trainer.model)
    torch.manual_seed(99)
    torch.randn(1000)
    assert validation(trainer.model) == first
    assert Validation(trainer.setup)(trainer.model) == first
    assert validation(trainer.averaged()) == first  # of a run that has not begun
    with torch.no_grad():
        trainer.model.final_conv.weight.mul_(1.1)
    assert validation(trainer.model) != first


def test_the_set_is_the_same_whatever_the_batch_and_another_one_for_another_seed(
    home: Path, tmp_path: Path
) -> None:
    def losses(*settings: str) -> list[float]:
        shards = home / "shards"
        trainer = make_trainer(tmp_path / "-".join(settings), shards, f"run.validation_samples={COUNT}", *settings)
        torch.manual_seed(0)
        model = type(trainer.model)(trainer.model.config)
        return Validation(trainer.setup)(model).buckets

    whole = losses("data.batch_size=8")
    assert losses("data.batch_size=2") == pytest.approx(whole, rel=1e-4)
    assert losses("data.batch_size=12", "run.accumulate=4") == pytest.approx(whole, rel=1e-4)
    assert losses("data.batch_size=8", "run.seed=1") != pytest.approx(whole, rel=1e-2)


@pytest.mark.parametrize("timesteps", [10, 37, 1000])
def test_ten_stretches_cover_all_noise_levels(home: Path, tmp_path: Path, timesteps: int) -> None:
    settings = f"diffusion.timesteps={timesteps}", "diffusion.sampling_timesteps=5", "run.validation_samples=1000"
    validation, spy = Validation(make_trainer(tmp_path, home / "shards", *settings).setup), Spy()
    validation(spy)
    times = torch.cat(spy.times)
    assert len(times) == 1000
    assert 0 <= times.min() <= timesteps / 100
    assert timesteps * 0.99 - 1 <= times.max() < timesteps
    for bucket in range(BUCKETS):
        stretch = times[bucket::BUCKETS]
        assert (stretch >= bucket * timesteps // BUCKETS).all()
        assert (stretch <= (bucket + 1) * timesteps / BUCKETS).all()
        assert len(stretch) == 100
    if timesteps < 1000:
        assert set(times.tolist()) == set(range(timesteps))


@pytest.mark.parametrize("prediction", ["v", "epsilon", "x0"])
def test_losses_are_the_mean_squared_errors_of_the_samples(home: Path, tmp_path: Path, prediction: str) -> None:
    settings = (
        *(f"run.validation_samples={COUNT}", f"diffusion.prediction={prediction}"),
        "data.validation_split=test",
    )
    trainer = make_trainer(tmp_path, home / "shards", *settings)
    spy = Spy()
    validation = Validation(trainer.setup)
    found = validation(spy)
    # Latents by hand: test images in their order, each as often as the others, encoded and whitened.
    reader = trainer.source.read(("test",))
    places = [round(row * (len(reader) - 1) / (min(COUNT, len(reader)) - 1)) for row in range(len(reader))]
    chosen = (places * COUNT)[:COUNT]
    batch = trainer.source.fixed(reader, chosen)
    linear = trainer.encoder.autoencoder
    assert linear is not None
    means = linear.encode(batch.images_BCHW.float() / 127.5 - 1)[0].double()  # type: ignore[union-attr]
    space = trainer.space
    x0 = (means - torch.tensor(space.mean)[:, None, None]) / torch.tensor(space.std)[:, None, None]
    times, noisy = torch.cat(spy.times), torch.cat(spy.noisy).double()
    assert torch.equal(torch.cat(spy.masks), batch.masks_BCHW)
    # abar of the cosine schedule, by its formula; noise is what is left of the noisy latents.
    steps = torch.arange(1001, dtype=torch.float64) / 1000
    curve = torch.cos((steps + 0.008) / 1.008 * torch.pi / 2) ** 2
    bars = torch.cumprod(1 - (1 - curve[1:] / curve[:-1]).clamp(max=0.999), 0)
    signal, sigma = bars[times].sqrt()[:, None, None, None], (1 - bars[times]).sqrt()[:, None, None, None]
    noise = (noisy - signal * x0) / sigma
    late = times > 100  # where there is next to no noise, it cannot be told from rounding
    assert noise[late].mean().item() == pytest.approx(0, abs=0.1)
    assert noise[late].std().item() == pytest.approx(1, abs=0.1)
    target = {"epsilon": noise, "x0": x0, "v": signal * noise - sigma * x0}[prediction]
    errors = target.square().mean((1, 2, 3))  # the network answered zeros
    assert found.mean == pytest.approx(errors.mean().item(), rel=1e-3)
    by_hand = [errors[bucket::BUCKETS].mean().item() for bucket in range(BUCKETS)]
    assert found.buckets == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_meanwhile_and_the_mode_comes_back(trainer: Trainer, training: bool) -> None:
    validation = Validation(trainer.setup)
    seen: list[bool] = []
    for module in trainer.model.modules():
        module.register_forward_hook(lambda module, *_: seen.append(module.training))
    trainer.model.train(training)
    validation(trainer.model)
    assert seen
    assert not any(seen)
    assert {module.training for module in trainer.model.modules()} == {training}
    assert all(weight.grad is None for weight in trainer.model.parameters())


@pytest.mark.parametrize("kind", ["shards", "latents"])
def test_a_split_that_is_named_is_validated_on(home: Path, tmp_path: Path, kind: str) -> None:
    settings = "run.validation_samples=12", "data.validation_split=test"
    validation = Validation(make_trainer(tmp_path, home / kind, *settings).setup)
    assert validation.split == "test"
    assert len(validation.masks_BCHW) == 12
    test = ShardReader(home / "shards", ("test",))
    assert len(test) < 12  # samples are used more than once, with noise of their own
    everything = Validation(make_trainer(tmp_path / "all", home / kind, "data.splits=[train, test]").setup)
    assert everything.split is None


@pytest.mark.parametrize("kind", ["shards", "latents"])
def test_without_a_split_named_val_samples_are_held_out_of_train(folder: Path, kind: str, tmp_path: Path) -> None:
    data = folder if kind == "shards" else tmp_path / "latents"
    if kind == "latents":
        encode(shards=folder, out=data, views=1)
    trainer = make_trainer(tmp_path, data, "run.validation_samples=12", "run.validate_every=1")
    source = trainer.source
    held_out = set(np.flatnonzero(source.held_out).tolist())
    assert len(held_out) == 8  # one slide of five, the fewest that 5 % of 40 samples take
    groups = {source.reader.key(sample).split("/")[0] for sample in held_out}
    assert len(groups) == 1
    assert groups.isdisjoint({source.reader.key(sample).split("/")[0] for sample in source.samples.tolist()})
    validation = Validation(trainer.setup)
    assert validation.split == "held out"
    batch = source.fixed(source.reader, np.resize(sorted(held_out), 12).tolist())
    assert torch.equal(validation.masks_BCHW, batch.masks_BCHW)
    # None of them is ever drawn.
    drawn = source.draws.draw(np.arange(4000)).samples
    assert held_out.isdisjoint(drawn.tolist())
    assert set(drawn.tolist()) == set(source.samples.tolist())
    assert describe_validation(source) == (
        "Validation: 8 of the 40 samples, held out (groups stay whole), since there is no split named val."
    )


def test_without_validation_nothing_is_held_out(folder: Path, tmp_path: Path) -> None:
    assert not make_trainer(tmp_path, folder, "run.validate_every=0").source.held_out.any()


def test_there_is_a_sample_for_every_stretch_however_few_are_asked_for(home: Path, tmp_path: Path) -> None:
    validation = Validation(make_trainer(tmp_path, home / "shards", "run.validation_samples=1").setup)
    spy = Spy()
    losses = validation(spy)
    assert len(torch.cat(spy.times)) == BUCKETS
    assert losses.mean == pytest.approx(sum(losses.buckets) / BUCKETS)


@pytest.mark.parametrize("compiled", [True, False])
def test_only_steps_are_compiled(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, compiled: bool
) -> None:
    """Validation and previews have batches of other sizes, for each of which compiling would take a minute."""
    now: list[str] = []
    found: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def uncompiled() -> Iterator[None]:
        now.append("uncompiled")
        yield
        now.pop()

    monkeypatch.setattr(loop, "uncompiled", uncompiled)
    monkeypatch.setattr(loop, "compile_blocks", lambda *_: None)
    settings = [f"run.compile={str(compiled).lower()}", "run.validate_every=1", "run.preview_every=1"]
    trainer = make_trainer(tmp_path, home / "shards", *settings)

    def validation(_: object) -> Losses:
        found.append(("validation", *now))
        return Losses(0.0, [0.0])

    def preview(*_: object) -> None:
        found.append(("preview", *now))

    trainer.step = 1
    trainer._look(None, cast("Any", validation), cast("Any", preview))
    expected = ["uncompiled"] if compiled else []
    assert found == [("validation", *expected), ("validation", *expected), ("preview", *expected)]
