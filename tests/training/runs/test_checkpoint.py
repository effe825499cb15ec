"""Checkpoints: what is written is read to the bit, damage is named, and what is there is found."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.io.atomic import file_digest
from training.autoencoders.linear import LinearAutoencoder
from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig, TrainConfig
from training.diffusion.process import Schedule
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.runs import checkpoint as checkpoints
from training.runs.checkpoint import (
    State,
    find_run,
    load_model,
    newest,
    read_run,
    read_state,
    read_tensors,
    save_checkpoint,
    write_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

TINY = ModelConfig(image_size=32, dim=8, num_classes=3, dim_mults=(1, 2))
STATE = State(
    step=7,
    position=28,
    index_digest="0" * 64,
    classes=("Unknown", "Tumour", "Stroma – ä"),
    map_digest="1" * 64,
    autoencoder={"name": "autoencoder", "digest": "2" * 64},
    latent_space=LatentSpace.preset("default", mean=[0.1] * 4, std=[1 / 3] * 4).to_json(),
    skipped=2,
)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make_run(folder: Path, *steps: int, model: ModelConfig = TINY) -> Path:
    """A run of a tiny network with checkpoints of random weights."""
    write_run(folder, TrainConfig(model=model))
    for step in steps:
        torch.manual_seed(step)
        weights = UNet(model).state_dict()
        averaged = {name: tensor / 2 for name, tensor in weights.items()}
        save_checkpoint(folder, replace(STATE, step=step), {"model": weights, "ema": averaged})
    return folder


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def same_bits(first: Tensor, second: Tensor) -> bool:
    plain = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second))
    return first.dtype == second.dtype and first.shape == second.shape and torch.equal(*plain)


tensors = st.builds(
    lambda shape, dtype, seed, last: (
        (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last if last and len(shape) == 4 else torch.contiguous_format)
    ),
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8]),
    st.integers(0, 1000),
    st.booleans(),
)


@given(st.dictionaries(st.sampled_from(["a", "b.weight", "c:exp_avg", "ä"]), tensors))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tensors_of_any_kind_and_layout_come_back_to_the_bit(tmp_path: Path, parts: dict[str, Tensor]) -> None:
    saved = save_checkpoint(tmp_path, STATE, {"model": parts})
    found = read_tensors(saved, "model")
    assert found.keys() == parts.keys()
    assert all(same_bits(found[name], tensor) for name, tensor in parts.items())


def test_numbers_that_are_no_numbers_and_views_of_larger_tensors_come_back(tmp_path: Path) -> None:
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    whole = torch.arange(12.0).reshape(3, 4)
    saved = save_checkpoint(tmp_path, STATE, {"model": {"odd": odd, "view": whole[:, 1:3], "turned": whole.T}})
    found = read_tensors(saved, "model")
    assert same_bits(found["odd"], odd)
    assert torch.equal(found["view"], whole[:, 1:3])
    assert torch.equal(found["turned"], whole.T)


def test_the_state_comes_back_equal(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, STATE, {})
    assert saved.name == "step-00000007"
    found = read_state(saved)
    space = LatentSpace.from_json(found.latent_space)  # JSON knows lists alone
    assert replace(found, latent_space=space.to_json()) == STATE


def test_digests_are_those_of_the_files_and_one_bit_elsewhere_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 1, 2)
    damaged = run / "checkpoints" / "step-00000002"
    files = json.loads((damaged / "state.json").read_text())["files"]
    assert files == {name: file_digest(damaged / name) for name in ("ema.safetensors", "model.safetensors")}
    path = damaged / "ema.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    message = refusal(lambda: read_tensors(damaged, "ema"))
    assert message.startswith(f"{path} is missing or damaged (its SHA-256 is ")
    assert message.endswith(f"remove {damaged} and run 'histods train' again: it resumes from step-00000001.")
    read_tensors(damaged, "model")
    path.unlink()
    assert "No such file" in refusal(lambda: read_tensors(damaged, "ema"))
    missing = refusal(lambda: read_tensors(damaged, "optimizer"))
    assert missing == f"{damaged} has no part 'optimizer'; choose other weights."


def test_latest_names_the_newest_and_can_be_done_without(tmp_path: Path) -> None:
    run = make_run(tmp_path, 3, 11)
    assert newest(run) == run / "checkpoints" / "step-00000011"
    latest = run / "checkpoints" / "latest"
    assert latest.read_text() == "step-00000011\n"
    (run / "checkpoints" / "step-00000020").mkdir()  # no state: it was never whole
    for text in (None, "", "\n", "step-00000099\n", "step-00000020\n"):
        latest.unlink() if text is None else latest.write_text(text)
        assert newest(run) == run / "checkpoints" / "step-00000011", text
    latest.write_text("step-00000003\n")
    assert newest(run) == run / "checkpoints" / "step-00000003"
    assert newest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("keep", [1, 2, None])
def test_so_many_of_the_newest_checkpoints_stay(tmp_path: Path, keep: int | None) -> None:
    write_run(tmp_path, TrainConfig(model=TINY))
    steps = [1, 2, 10, 9_999_999, 10_000_000]
    for step in steps:
        save_checkpoint(tmp_path, replace(STATE, step=step), {}, keep=keep)
    kept = steps if keep is None else steps[-keep:]
    assert names(tmp_path) == ["latest", *(f"step-{step:08d}" for step in kept)]


def test_what_a_kill_left_half_written_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1)
    torn = run / "checkpoints" / ".step-00000002.part"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert newest(run) == run / "checkpoints" / "step-00000001"
    save_checkpoint(run, replace(STATE, step=3), {})
    assert names(run) == ["latest", "step-00000001", "step-00000003"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, STATE, {"model": {"a": torch.zeros(2)}, "ema": {"a": torch.zeros(2)}})
    saved = save_checkpoint(tmp_path, replace(STATE, skipped=5), {"model": {"a": torch.ones(2)}})
    assert read_state(saved).skipped == 5
    assert read_tensors(saved, "model")["a"].tolist() == [1, 1]
    assert sorted(path.name for path in saved.iterdir()) == ["model.safetensors", "state.json"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_tensors", full)
    message = refusal(lambda: save_checkpoint(run, replace(STATE, step=2), {"model": {}}))
    assert message.startswith(f"The checkpoint {run / 'checkpoints' / 'step-00000002'} could not be written: ")
    assert "No space left on device; step-00000001 is intact; make room" in message
    assert names(run) == ["latest", "step-00000001"]


def test_runs_are_found_by_name_by_path_and_by_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "first", 1, 2)
    old, new = (run / "checkpoints" / f"step-{step:08d}" for step in (1, 2))
    runs = tmp_path / "runs"
    assert find_run("first", runs) == (run, new)
    assert find_run(run) == find_run(str(run)) == (run, new)
    assert find_run(old) == (run, old)
    assert find_run("first/checkpoints/step-00000001", runs) == (run, old)
    assert (read_run(old).step, read_run("first", runs).step) == (1, 2)
    assert read_run(run).classes == STATE.classes
    assert read_run(run).config.model == TINY


def test_what_is_no_run_or_has_no_checkpoint_is_said_with_what_there_is(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    nothing = refusal(lambda: find_run("first", runs))
    assert nothing == f"There is no run first, as a folder or in {runs}; 'histods train' makes one."
    make_run(runs / "empty")
    empty = refusal(lambda: find_run("empty", runs))
    assert empty == (f"There is no checkpoint in {runs / 'empty'} yet; run 'histods train --name empty'.")
    make_run(runs / "b", 1)
    assert refusal(lambda: find_run("a", runs)).endswith("; choose one of b, empty.")


def test_a_checkpoint_of_another_version_or_of_something_else_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, 2)
    path = run / "checkpoints" / "step-00000002" / "state.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"schema_version": 2}))
    assert refusal(lambda: read_run(run)) == (
        f"{path.parent} is a checkpoint of version 2, and this histods reads version 1; "
        "use the histods that wrote it."
    )
    for change in ({"colour": 1}, {"classes": None}):
        path.write_text(json.dumps(document | change))
        assert refusal(lambda: read_run(run)).startswith(f"{path} does not hold a checkpoint's state (")
    for key in ("schema_version", "classes", "step"):
        path.write_text(json.dumps({name: value for name, value in document.items() if name != key}))
        assert "it resumes from step-00000001" in refusal(lambda: read_run(run))
    path.write_text("{")
    assert str(path) in refusal(lambda: read_run(run))


@pytest.mark.parametrize("weights", ["ema", "model"])
def test_a_loaded_network_answers_as_the_one_that_was_saved(tmp_path: Path, weights: str) -> None:
    run = make_run(tmp_path, 5)
    torch.manual_seed(5)
    saved = UNet(TINY).eval()
    if weights == "ema":
        saved.load_state_dict({name: tensor / 2 for name, tensor in saved.state_dict().items()})
    model = load_model(run, weights=weights, device="cpu")  # type: ignore[arg-type]
    assert not any(module.training for module in model.modules())
    x, times = torch.randn(2, 4, 4, 4), torch.tensor([0, 999])
    mask = torch.randint(0, 3, (2, 1, 32, 32))
    with torch.no_grad():
        output = model(x, times, mask)
        assert output.shape == (2, 4, 4, 4)
        assert torch.equal(output, saved(x, times, mask))
        assert torch.equal(output, load_model(read_run(run), weights=weights)(x, times, mask.byte()))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"dim": 16}, {"num_classes": 4}, {"spatial": True}, {"null": "zero_mask"}])
def test_weights_of_another_network_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    run = make_run(tmp_path, 1)
    write_run(run, TrainConfig(model=replace(TINY, **change)))  # type: ignore[arg-type]
    message = refusal(lambda: load_model(run, device="cpu"))
    checkpoint = f"{run}/checkpoints/step-00000001"
    assert message.startswith(f"The weights in {checkpoint} do not fit the network of its settings")


def test_a_checkpoint_means_what_it_was_trained_with_whatever_the_run_became(tmp_path: Path) -> None:
    weights = UNet(TINY).state_dict()
    trained = TrainConfig(model=TINY, diffusion=DiffusionConfig(prediction="x0", schedule="linear"))
    save_checkpoint(tmp_path, STATE, {"model": weights}, config=trained)
    write_run(tmp_path, TrainConfig(model=replace(TINY, dim=16)))
    read = read_run(tmp_path)
    assert read.config == trained
    assert torch.equal(read.schedule.signal_T, Schedule.of(trained.diffusion).signal_T)
    load_model(tmp_path, weights="model", device="cpu")


def test_the_autoencoder_of_a_run_is_its_own_or_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    images = torch.arange(192 * 8, dtype=torch.uint8).reshape(8, 3, 8, 8)
    linear = LinearAutoencoder.fit([images])
    linear.save(run / "autoencoder")
    own = {"name": "autoencoder", "digest": linear.digest}
    save_checkpoint(run, replace(STATE, autoencoder=own), {})
    assert read_run(run).load_autoencoder().digest == linear.digest
    other = LinearAutoencoder.fit([images.flip(3)])
    other.save(run / "autoencoder")
    message = refusal(lambda: read_run(run).load_autoencoder())
    assert linear.digest[:12] in message
    assert other.digest[:12] in message
    save_checkpoint(run, replace(STATE, step=8, autoencoder={"name": "", "digest": ""}), {})
    assert "imported without an autoencoder" in refusal(lambda: read_run(run).load_autoencoder())
