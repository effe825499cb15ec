"""A run that starts from the weights of another: what is taken over, what starts from scratch, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from histods import shard
from histods.errors import HistodsError
from tests.training.published import SMALL, published, write
from tests.training.trained_runs import TINY, run_tiny
from training.config.sections import TrainConfig
from training.exchange.export_diffusers import export
from training.exchange.import_diffinfinite import import_checkpoint
from training.exchange.initial_weights import Initial, read_initial
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.runs.checkpoint import load_model, newest, read_run, read_state
from training.runs.metrics import read_metrics
from training.verbs.encode import encode
from training.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Site

PERMUTED = """
name: permuted
classes: [Unknown, Bone, stroma, Tumour]
map: {Unknown: [0, 1], Bone: [7], stroma: ["10-700"], Tumour: ["2-6", 8, 9]}
"""


def initial(model: UNet, classes: tuple[str, ...], **changes: Any) -> Initial:
    """The weights of a network, as those of a run of these classes."""
    plain = Initial(
        place="base",
        config=TrainConfig(model=model.config),
        space=LatentSpace.preset("paper"),
        classes=classes,
        tensors=model.state_dict(),
        autoencoder=None,
    )
    return replace(plain, **changes)


def network(classes: int, seed: int, *, spatial: bool = False) -> UNet:
    torch.manual_seed(seed)
    return UNet(replace(SMALL, num_classes=classes, spatial=spatial, null="learned"))


@pytest.fixture(scope="module")
def base(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 100 steps."""
    place = tmp_path_factory.mktemp("base")
    return run_tiny(place, folder, "run.steps=100", "run.checkpoint_every=100", "optimizer.lr=4e-3").folder


@pytest.fixture(scope="module")
def twelve(new_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of twelve other patches, under a map with the classes in another order and one more."""
    site = new_site(tmp_path_factory.mktemp("twelve"), pairs=12, seed=7)
    site.map.write_text(PERMUTED)
    shard(workspace=site.workspace, map=site.map, out=site.workspace / "few", workers=1)
    return site.workspace / "few"


@pytest.mark.parametrize("spatial", [False, True])
def test_what_a_network_says_of_a_class_follows_its_name(spatial: bool) -> None:
    before, after = network(3, 0, spatial=spatial), network(4, 1, spatial=spatial)
    said = initial(before, ("None", "Tumour", "Stroma")).fill(after, ("none", "Bone", "stroma", "Tumour"))
    assert said == "Starting from the weights of base: 3 of 4 classes by name, Bone from scratch."
    x, times = torch.randn(2, 4, 8, 8), torch.tensor([3, 700])
    mask = torch.randint(0, 3, (2, 1, 64, 64))
    renamed = torch.tensor([0, 3, 2])[mask]
    torch.testing.assert_close(
        after.eval()(x, times, renamed), before.eval()(x, times, mask), rtol=1e-4, atol=1e-5
    )
    first = network(4, 1, spatial=spatial).state_dict()
    assert torch.equal(after.get_parameter("classes_emb.weight")[1], first["classes_emb.weight"][1])


def test_ends_that_are_remade_keep_their_first_weights_and_all_else_is_taken() -> None:
    before, after, first = network(3, 0), network(3, 1), network(3, 1).state_dict()
    said = initial(before, ("a", "b", "c"), remake_ends=True).fill(after, ("a", "b", "c"))
    assert said.endswith("3 of 3 classes by name; the first and last layers start from scratch.")
    for name, tensor in after.state_dict().items():
        source = first if name.startswith(("init_conv.", "final_conv.")) else before.state_dict()
        assert torch.equal(tensor, source[name]), name


def test_twelve_patches_are_learnt_faster_than_from_nothing(base: Path, twelve: Path, tmp_path: Path) -> None:
    said: list[str] = []
    settings = [*TINY, "run.steps=8", "optimizer.lr=2e-3"]

    def run(place: str, **options: Any) -> list[float]:
        result = train(
            workspace=tmp_path / place, data=twelve, settings=settings, device="cpu", say=said.append, **options
        )
        assert result.finished
        return [line["loss"] for line in read_metrics(result.folder) if line["kind"] == "train"]

    fresh, tuned = run("fresh"), run("tuned", init=base)
    start = f"Starting from the weights of {base} at step 100"
    assert said[-1] == f"{start}: 3 of 4 classes by name, Bone from scratch."
    assert sum(tuned) < 0.9 * sum(fresh)
    made = read_run(tmp_path / "tuned" / "runs" / "default")
    assert made.space == read_run(base).space
    assert made.load_autoencoder().digest == read_run(base).load_autoencoder().digest
    assert (made.step, made.state.position) == (8, 32)


def test_the_same_call_goes_on_and_starts_from_nothing_twice(base: Path, twelve: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(base, source)
    options: dict[str, Any] = {"workspace": tmp_path, "data": twelve, "device": "cpu", "init": source}
    train(settings=[*TINY, "run.steps=2"], **options)
    again = train(settings=[*TINY, "run.steps=4"], resume=True, **options)
    assert (again.began, again.step) == (2, 4)
    whole = train(settings=[*TINY, "run.steps=4"], name="whole", **options)
    for name, weight in load_model(whole.folder, weights="model").state_dict().items():
        assert torch.equal(weight, load_model(again.folder, weights="model").state_dict()[name])
    shutil.rmtree(source)
    unlike = [*TINY, "run.steps=4", "run.keep_checkpoints=2"]  # --resume takes other settings, and no --init
    assert train(settings=unlike, **{**options, "init": None}, resume=True).step == 4


def test_an_export_and_a_checkpoint_start_as_their_run_does(base: Path, tmp_path: Path) -> None:
    folder = export(base, out=tmp_path / "export", workspace=tmp_path)
    of_run = read_initial(base, tmp_path)
    for init in (folder, newest(base)):
        assert init is not None
        other = read_initial(init, tmp_path)
        assert (other.space, other.classes) == (of_run.space, of_run.classes)
        assert other.defaults() == of_run.defaults()
        assert other.autoencoder is not None
        assert of_run.autoencoder is not None
        assert other.autoencoder.digest == of_run.autoencoder.digest
        assert other.tensors.keys() == of_run.tensors.keys()
        assert all(torch.equal(tensor, of_run.tensors[name]) for name, tensor in other.tensors.items())
    raw = read_initial(base, tmp_path, "model")
    assert any(not torch.equal(tensor, of_run.tensors[name]) for name, tensor in raw.tensors.items())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.dim=16", "model.dim: 8 there, 16 here"),
        ("diffusion.prediction=epsilon", "diffusion.prediction: v there, epsilon here"),
        ("diffusion.schedule=linear", "diffusion.schedule: cosine there, linear here"),
        ("latents.space=paper", "latents.space: default there, paper here"),
    ],
)
def test_settings_of_another_network_are_refused(
    base: Path, twelve: Path, tmp_path: Path, setting: str, said: str
) -> None:
    with pytest.raises(HistodsError, match="were trained with other settings: ") as caught:
        train(workspace=tmp_path, data=twelve, settings=["run.steps=1", setting], device="cpu", init=base)
    assert said in str(caught.value)
    assert not (tmp_path / "runs" / "default" / "config.yaml").exists()


def test_settings_that_are_not_named_are_those_of_the_weights(base: Path, twelve: Path, tmp_path: Path) -> None:
    settings = ["run.steps=1", "data.batch_size=2", "run.validate_every=0", "run.preview_every=0"]
    made = train(workspace=tmp_path, data=twelve, settings=settings, device="cpu", init=base).config
    trained = read_run(base).config
    assert replace(made.model, num_classes=3) == trained.model
    assert made.diffusion.prediction == trained.diffusion.prediction


def test_latents_of_another_autoencoder_are_refused_unless_the_ends_are_remade(
    base: Path, twelve: Path, tmp_path: Path
) -> None:
    encode(shards=twelve, out=tmp_path / "latents", workspace=tmp_path)
    options: dict[str, Any] = {"data": tmp_path / "latents", "device": "cpu", "init": base}
    settings = [*TINY, "run.steps=1"]
    with pytest.raises(HistodsError, match=r"on latents of the autoencoder .*--remake-ends"):
        train(workspace=tmp_path, settings=settings, **options)
    assert train(workspace=tmp_path, settings=settings, remake_ends=True, **options).finished


def test_an_imported_run_goes_on_as_a_new_one_alone(twelve: Path, tmp_path: Path) -> None:
    write(tmp_path / "model-12.pt", published())
    imported = import_checkpoint(tmp_path / "model-12.pt", out=tmp_path / "runs" / "theirs")
    with pytest.raises(HistodsError) as caught:
        train(workspace=tmp_path, data=twelve, name="theirs", resume=True, device="cpu")
    assert f"'histods train --init {imported} --name NEW'" in str(caught.value)
    settings = ["run.steps=1", "data.batch_size=2", "run.validate_every=0", "run.preview_every=0"]
    made = train(workspace=tmp_path, data=twelve, settings=settings, device="cpu", init="theirs")
    assert made.config.diffusion.prediction == "epsilon"
    assert read_run(made.folder).space == read_run(imported).space
    checkpoint = newest(made.folder)
    assert checkpoint is not None
    assert read_state(checkpoint).step == 1
