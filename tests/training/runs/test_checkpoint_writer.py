"""Checkpoints written in a thread: right to the bit, never waited for, whole whenever the process dies."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from histods.errors import HistodsError
from tests.forked import CONTEXT
from tests.training.saving import save_for_ever, state_at
from training.config.sections import TrainConfig
from training.runs import checkpoint_writer
from training.runs.checkpoint import newest, read_state, read_tensors, save_checkpoint
from training.runs.checkpoint_writer import CheckpointWriter

if TYPE_CHECKING:
    from pathlib import Path

    from training.runs.checkpoint import State

CONFIG = TrainConfig()


class Gate:
    """`save_checkpoint` that begins when it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.states: list[State] = []
        monkeypatch.setattr(checkpoint_writer, "save_checkpoint", self)

    def __call__(self, run: Path, state: State, *rest: Any, **named: Any) -> Path:
        assert self.open.wait(60)
        self.states.append(state)
        return save_checkpoint(run, state, *rest, **named)


def test_training_goes_on_and_may_change_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(tmp_path)
    torch.manual_seed(0)
    tensors = {"weight": torch.randn(3, 4, 5), "half": torch.randn(7).bfloat16(), "step": torch.tensor(3.0)}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    writer.begin(state_at(1), {"model": tensors, "optimizer": {}}, config=CONFIG)
    for tensor in tensors.values():
        tensor.zero_()
    writer.check()
    assert newest(tmp_path) is None
    gate.open.set()
    writer.wait()
    saved = newest(tmp_path)
    assert saved is not None
    assert read_tensors(saved, "optimizer") == {}
    for name, tensor in read_tensors(saved, "model").items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == before[name].dtype


def test_one_checkpoint_is_written_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(tmp_path)
    tensor = torch.zeros(100)
    gate.open.set()
    for step in (1, 2, 3):
        tensor += 1
        writer.begin(state_at(step), {"model": {"a": tensor}}, config=CONFIG, keep=2)
    writer.wait()
    assert [state.step for state in gate.states] == [1, 2, 3]
    for step in (2, 3):
        saved = tmp_path / "checkpoints" / f"step-{step:08d}"
        assert (read_tensors(saved, "model")["a"] == step).all()
    assert not (tmp_path / "checkpoints" / "step-00000001").exists()


def test_a_tensor_of_another_shape_gets_memory_of_its_own(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)
    for step, tensor in enumerate((torch.ones(2), torch.ones(3), torch.ones(3, dtype=torch.int64)), start=1):
        writer.begin(state_at(step), {"model": {"a": tensor}}, config=CONFIG)
        writer.wait()
        saved = newest(tmp_path)
        assert saved is not None
        assert torch.equal(read_tensors(saved, "model")["a"], tensor)


def test_what_could_not_be_written_is_said_once_and_the_one_before_stays(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)
    writer.begin(state_at(1), {"model": {"a": torch.ones(2)}}, config=CONFIG)
    writer.wait()
    (tmp_path / "checkpoints" / ".step-00000002.part").write_text("in the way")
    writer.begin(state_at(2), {"model": {"a": torch.ones(2)}}, config=CONFIG)
    with pytest.raises(HistodsError, match=r"step-00000001 is intact"):
        writer.wait()
    writer.check()
    writer.wait()
    saved = newest(tmp_path)
    assert saved is not None
    assert read_state(saved).step == 1


@pytest.mark.slow
def test_after_40_kills_at_any_moment_the_newest_checkpoint_is_whole(tmp_path: Path) -> None:
    chance, torn, last = random.Random(0), 0, 0
    home = tmp_path / "checkpoints"
    for _ in range(40):
        process = CONTEXT.Process(target=save_for_ever, args=(str(tmp_path),), daemon=True)
        process.start()
        until = time.monotonic() + 60
        while (found := newest(tmp_path)) is None or read_state(found).step == last:
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        torn += any(home.glob(".step-*.part"))
        saved = newest(tmp_path)
        assert saved is not None
        last, before = read_state(saved).step, last
        assert last > before
        for part in ("model", "ema"):
            assert all((tensor == last).all() for tensor in read_tensors(saved, part).values())
    assert torn > 4  # most kills hit a checkpoint that is being written
