"""import: published checkpoints become runs with the same output; nothing in them is run, nothing is guessed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from histods.errors import HistodsError
from histods.io.atomic import file_digest
from tests.training.plain_unet import PlainUNet
from tests.training.published import SMALL, published, write
from training.autoencoders.linear import LinearAutoencoder
from training.config.model import ModelConfig
from training.diffusion.process import linear_betas
from training.exchange.import_diffinfinite import import_checkpoint
from training.runs.checkpoint import load_model, read_run

if TYPE_CHECKING:
    from collections.abc import Callable

AVERAGED = "ema_model.model."
WEIGHTS = {"ema": ("ema", AVERAGED), "model": ("model", "model.")}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return published()


@pytest.fixture(scope="module")
def checkpoint(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("published") / "model-12.pt", document)


def plain(document: dict[str, Any], weights: str, **options: Any) -> PlainUNet:
    """The network as its formulas have it, straight from the document."""
    entry, prefix = WEIGHTS[weights]
    state = {
        name.removeprefix(prefix): tensor for name, tensor in document[entry].items() if name.startswith(prefix)
    }
    return PlainUNet(state, **options)


def example(config: ModelConfig = SMALL) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    side, block = config.image_size // 8, config.image_size // 4
    coarse = torch.randint(config.num_classes or 0, (2, 1, 4, 4))
    masks = coarse.repeat_interleave(block, 2).repeat_interleave(block, 3)
    return torch.randn(2, 4, side, side), torch.tensor([7, 991]), masks


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def files_of(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


@pytest.mark.parametrize("weights", ["ema", "model"])
def test_an_imported_network_gives_what_its_formulas_give(
    document: dict[str, Any], checkpoint: Path, tmp_path: Path, weights: Any
) -> None:
    run = import_checkpoint(checkpoint, out=tmp_path / "run", weights=weights)
    module = load_model(run, device="cpu")
    assert not module.training
    with torch.no_grad():
        assert torch.allclose(module(*example()), plain(document, weights)(*example()), rtol=0, atol=1e-4)
    other = plain(document, "model" if weights == "ema" else "ema")(*example())
    assert not torch.allclose(module(*example()), other, rtol=0, atol=1e-2), "the two differ"


def test_both_sets_of_weights_come_along(document: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    run = import_checkpoint(checkpoint, out=tmp_path / "run")
    for weights in ("ema", "model"):
        module = load_model(run, weights=weights, device="cpu")
        with torch.no_grad():
            assert torch.allclose(module(*example()), plain(document, weights)(*example()), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(image_size=64, dim=12, num_classes=2, dim_mults=(2,), null="zero_mask"),
        ModelConfig(image_size=64, dim=4, num_classes=11, dim_mults=(1, 3, 2), null="zero_mask"),
    ],
    ids=["one level", "three levels"],
)
def test_the_network_is_known_by_its_shapes(tmp_path: Path, config: ModelConfig) -> None:
    document = published(config)
    run = import_checkpoint(write(tmp_path / "c.pt", document), out=tmp_path / "run")
    found = read_run(run).config.model
    assert (found.dim, found.num_classes, found.dim_mults) == (config.dim, config.num_classes, config.dim_mults)
    with torch.no_grad():
        output = load_model(run, device="cpu")(*example(config))
    assert torch.allclose(output, plain(document, "ema")(*example(config)), rtol=0, atol=1e-4)


def test_the_run_has_the_conventions_of_the_fork(checkpoint: Path, tmp_path: Path) -> None:
    run = read_run(import_checkpoint(checkpoint, out=tmp_path / "run"))
    diffusion = run.config.diffusion
    assert (diffusion.prediction, diffusion.schedule, diffusion.timesteps) == ("epsilon", "cosine", 1000)
    assert (diffusion.sampling_timesteps, diffusion.zero_terminal_snr) == (250, False)
    assert (run.config.model.null, run.config.model.class_conditioning) == ("zero_mask", "histogram")
    assert (run.step, run.classes) == (12_000, ("class 0", "class 1", "class 2"))
    assert (run.space.clip, run.space.image_low) == (1.0, 0.0)
    latents = torch.tensor([[[[3.0]]]])
    assert run.space.normalise(latents).item() == pytest.approx(2 * 0.18215 * 3 - 1)


def test_the_preset_paper_takes_the_largest_class_alone(
    document: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    run = import_checkpoint(checkpoint, out=tmp_path / "run", preset="paper")
    with torch.no_grad():
        output = load_model(run, device="cpu")(*example())
        expected = plain(document, "ema", largest_class_alone=True)(*example())
    assert torch.allclose(output, expected, rtol=0, atol=1e-4)
    assert read_run(run).space.scale == pytest.approx(1 / 50)


def test_the_reference_s_configuration_says_what_shapes_do_not(
    document: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    model = {"image_size": 64, "dim": 8, "num_classes": 3, "dim_mults": [1, 2], "resnet_block_groups": 4}
    given = tmp_path / "config.yml"
    given.write_text(yaml.safe_dump({"model": model, "diffusion": {"timesteps": 1000, "sampling_timesteps": 50}}))
    run = import_checkpoint(checkpoint, out=tmp_path / "run", config=given)
    assert read_run(run).config.diffusion.sampling_timesteps == 50
    with torch.no_grad():
        output = load_model(run, device="cpu")(*example())
    assert torch.allclose(output, plain(document, "ema", groups=4)(*example()), rtol=0, atol=1e-4)
    given.write_text(yaml.safe_dump({"model": model | {"dim_mults": [1, 4]}}))
    message = refusal(lambda: import_checkpoint(checkpoint, out=tmp_path / "other", config=given))
    assert f"{given} sets model.dim_mults to [1, 4], but it is [1, 2] in {checkpoint};" in message


def test_a_label_map_names_the_classes(checkpoint: Path, tmp_path: Path) -> None:
    three = tmp_path / "three.yml"
    three.write_text("name: three\nclasses: [Unknown, A, B]\nmap: {Unknown: [0], A: [1], B: [2]}\n")
    run = read_run(import_checkpoint(checkpoint, out=tmp_path / "run", map=three))
    assert run.classes == ("Unknown", "A", "B")
    assert run.state.map_digest
    message = refusal(lambda: import_checkpoint(checkpoint, out=tmp_path / "five", map="label_map_5.yml"))
    assert "has 5 classes, but the checkpoint has 3; give" in message


def test_the_linear_autoencoder_moves_into_the_run(checkpoint: Path, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    autoencoder = LinearAutoencoder.fit([images])
    autoencoder.save(tmp_path / "linear")
    run = import_checkpoint(checkpoint, out=tmp_path / "run", autoencoder=str(tmp_path / "linear"))
    (tmp_path / "linear").rename(tmp_path / "elsewhere")
    assert read_run(run).load_autoencoder().digest == autoencoder.digest


def test_an_autoencoder_may_be_given_later(checkpoint: Path, tmp_path: Path) -> None:
    run = import_checkpoint(checkpoint, out=tmp_path / "run")
    message = refusal(lambda: read_run(run).load_autoencoder())
    assert "imported without an autoencoder; run 'histods import' again with --autoencoder" in message
    autoencoder = LinearAutoencoder.fit([torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)])
    autoencoder.save(tmp_path / "linear")
    import_checkpoint(checkpoint, out=run, autoencoder=str(tmp_path / "linear"))
    assert read_run(run).load_autoencoder().digest == autoencoder.digest


def test_the_same_import_writes_the_same_bytes_and_may_be_repeated(checkpoint: Path, tmp_path: Path) -> None:
    one, two = (import_checkpoint(checkpoint, out=tmp_path / name) for name in ("one", "two"))
    before = files_of(one)
    assert before == files_of(two)
    assert set(before) > {"import.json", "config.yaml"}
    (one / "checkpoints" / "latest").unlink()
    import_checkpoint(checkpoint, out=one)
    assert files_of(one) == before


def test_a_folder_in_use_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    assert "used already holds mine.txt; choose a new folder with --out" in refusal(
        lambda: import_checkpoint(checkpoint, out=used)
    )
    assert [path.name for path in used.iterdir()] == ["mine.txt"]
    assert "mine.txt is a file; choose a new folder" in refusal(
        lambda: import_checkpoint(checkpoint, out=used / "mine.txt")
    )
    run = import_checkpoint(checkpoint, out=tmp_path / "run")
    message = refusal(lambda: import_checkpoint(checkpoint, out=run, weights="model"))
    assert "already holds the import of model-12.pt (ema)" in message


class _Payload:
    """Pickles as a call."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_a_file_that_could_run_code_is_refused_and_runs_none(document: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "ran"
    zipped = write(tmp_path / "zipped.pt", document | {"scaler": _Payload(target)})
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps(_Payload(target), protocol=2))
    for path in (zipped, bare):
        message = refusal(lambda path=path: import_checkpoint(path, out=tmp_path / "run"))  # type: ignore[misc]
        assert "holds more than tensors and plain values" in message
        assert "posix.mkdir" in message
    assert not target.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(checkpoint: Path, tmp_path: Path, share: float) -> None:
    torn = tmp_path / "torn.pt"
    content = checkpoint.read_bytes()
    torn.write_bytes(content[: int(share * len(content))])
    message = refusal(lambda: import_checkpoint(torn, out=tmp_path / "run"))
    assert "is not a complete checkpoint" in message
    assert not (tmp_path / "run").exists()


def test_a_flipped_bit_is_found(document: dict[str, Any], checkpoint: Path, tmp_path: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    weight = document["ema"][f"{AVERAGED}final_conv.weight"].numpy().tobytes()
    content[content.index(weight) + 1] ^= 1
    flipped = tmp_path / "flipped.pt"
    flipped.write_bytes(content)
    assert "CRC" in refusal(lambda: import_checkpoint(flipped, out=tmp_path / "run"))


def test_a_file_that_is_none_or_elsewhere_is_refused(tmp_path: Path) -> None:
    assert "no.pt does not exist; give the .pt file" in refusal(
        lambda: import_checkpoint(tmp_path / "no.pt", out=tmp_path / "run")
    )
    assert " is a folder; give the .pt file" in refusal(lambda: import_checkpoint(tmp_path, out=tmp_path / "run"))
    picture = tmp_path / "picture.pt"
    picture.write_bytes(b"\x89PNG\r\n" * 100)
    assert "complete checkpoint" in refusal(lambda: import_checkpoint(picture, out=tmp_path / "run"))
    words = tmp_path / "words.pt"
    words.write_text("not a checkpoint\n")
    assert refusal(lambda: import_checkpoint(words, out=tmp_path / "run")) == (
        f"{words} is not a complete checkpoint of torch.save (bytes of another kind, or of a part of it); "
        "download it again."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: torch.ones(3), "holds tensors, not the entries"),
        (lambda _: [1], "holds a list, not the entries"),
        (lambda _: {"step": 1}, "(it has none)"),
        (lambda d: {key: d[key] for key in d if key != "ema"}, "has no weights 'ema' of a U-Net (it has model)"),
        (
            lambda d: rename(d, f"{AVERAGED}downs.0.2.fn.fn.to_q.weight", f"{AVERAGED}downs.0.2.fn.to_q"),
            "1 missing (downs.0.2.fn.fn.to_q.weight) and 1 extra (downs.0.2.fn.to_q);",
        ),
        (lambda d: drop(d, f"{AVERAGED}init_conv.weight"), "1 missing (init_conv.weight)"),
        (lambda d: drop(d, f"{AVERAGED}mid_block1.mlp.1.bias"), "1 missing (mid_block1.mlp.1.bias);"),
        (
            lambda d: put(d, f"{AVERAGED}extra.weight", torch.ones(1)),
            "1 extra (extra.weight);",
        ),
        (
            lambda d: put(d, f"{AVERAGED}final_conv.bias", torch.ones(5)),
            "1 of other shapes (final_conv.bias [5] instead of [4]);",
        ),
        (lambda d: put(d, f"{AVERAGED}init_conv.weight", torch.ones(3)), "init_conv.weight [3]"),
        (lambda d: put(d, f"{AVERAGED}classes_emb.weight", torch.ones(0, 8)), "classes_emb.weight [0, 8]"),
        (lambda d: put(d, f"{AVERAGED}downs.1.3.weight", torch.ones(())), "downs.1.3.weight []"),
        (
            lambda d: put(d, f"{AVERAGED}final_conv.bias", torch.full((4,), float("nan"))),
            "has weights that are not all finite numbers (final_conv.bias)",
        ),
        (
            lambda d: put(d, f"{AVERAGED}final_conv.bias", torch.ones(4, dtype=torch.int64)),
            "not all finite numbers (final_conv.bias)",
        ),
        (
            lambda d: put(d, "betas", torch.full((1000,), 0.01), "model"),
            "a noise schedule that is not cosine or linear",
        ),
    ],
)
def test_what_does_not_fit_is_named(document: dict[str, Any], tmp_path: Path, change: Any, said: str) -> None:
    path = write(tmp_path / "c.pt", change(document))
    assert said in refusal(lambda: import_checkpoint(path, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_nearest_names_come_first(document: dict[str, Any], tmp_path: Path) -> None:
    names = ["classes_mlp.0.bias", "downs.0.0.mlp.1.bias", "downs.1.1.mlp.1.bias", "time_mlp.1.bias"]
    for name in names:
        document = drop(document, f"{AVERAGED}{name}")
    document = rename(document, f"{AVERAGED}ups.0.0.block1.proj.weight", f"{AVERAGED}ups.0.0.block1.proj.weigth")
    path = write(tmp_path / "c.pt", document)
    message = refusal(lambda: import_checkpoint(path, out=tmp_path / "run"))
    assert "5 missing (ups.0.0.block1.proj.weight, " in message
    assert "1 extra (ups.0.0.block1.proj.weigth)" in message


def put(document: dict[str, Any], name: str, tensor: torch.Tensor, entry: str = "ema") -> dict[str, Any]:
    return document | {entry: document[entry] | {name: tensor}}


def drop(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document | {"ema": {key: tensor for key, tensor in document["ema"].items() if key != name}}


def rename(document: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    return put(drop(document, before), after, document["ema"][before])


def test_half_precision_is_widened_and_other_schedules_are_known(document: dict[str, Any], tmp_path: Path) -> None:
    halved = {name: tensor.half() if "." in name else tensor for name, tensor in document["model"].items()}
    halved["betas"] = linear_betas(500).float()
    path = write(tmp_path / "c.pt", {"model": halved})
    run = read_run(import_checkpoint(path, out=tmp_path / "run", weights="model"))
    assert (run.config.diffusion.schedule, run.config.diffusion.timesteps, run.step) == ("linear", 500, 0)
    assert {weight.dtype for weight in load_model(run, device="cpu").parameters()} == {torch.float32}


@pytest.mark.parametrize("option", [{"weights": "best"}, {"preset": "default"}], ids=str)
def test_unknown_options_are_refused(checkpoint: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    assert "choose one" in refusal(lambda: import_checkpoint(checkpoint, out=tmp_path / "run", **option))
