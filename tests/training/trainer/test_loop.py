"""A training step: the same after a restart, in parts as at once, and without harm from what is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from histods.errors import HistodsError
from tests.training.trained_runs import make_trainer
from training.runs.checkpoint import newest, read_state, read_tensors
from training.trainer.shutdown import closing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from training.trainer.loop import Trainer


def take(trainer: Trainer, steps: int) -> None:
    with closing(trainer._batches) as batches:
        for _ in range(steps):
            trainer.train_step(batches)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def test_a_step_after_a_restart_is_the_step_without_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    one, other = (make_trainer(tmp_path / name, folder, "model.dropout=0.5") for name in "ab")
    take(one, 2)
    one.save()
    one.finish_saving()
    checkpoint = newest(one.folder)
    assert checkpoint is not None
    other.restore(read_state(checkpoint), lambda part: read_tensors(checkpoint, part))
    assert (other.step, other.state()) == (2, one.state())
    for trainer in (one, other):
        trainer._batches.load_state_dict({"position": 8, "index_digest": trainer.source.index_digest})
        take(trainer, 1)
    assert torch.equal(weights(one), weights(other))
    for name, tensor in one.ema.tensors.items():
        assert torch.equal(tensor, other.ema.tensors[name])


def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_batch_at_once(folder: Path, tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "a", folder, "model.dropout=0.0")
    parts = make_trainer(tmp_path / "b", folder, "model.dropout=0.0", "run.accumulate=2")
    for trainer in (whole, parts):
        take(trainer, 1)
    assert parts.state().position == whole.state().position == 4
    one, other = whole._step_metrics.read(), parts._step_metrics.read()
    assert other.losses == pytest.approx(one.losses, rel=1e-4)
    assert other.norms == pytest.approx(one.norms, rel=1e-4)
    assert one.norms[0] > 0


def test_a_gradient_that_is_not_finite_changes_no_weight_and_ends_a_run_that_has_too_many(
    folder: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, folder, "run.max_skipped=2")
    take(trainer, 1)
    before = weights(trainer)
    trainer._loss_of = lambda *_: next(trainer.model.parameters()).sum() * float("inf")  # type: ignore[assignment]
    trainer._batches.load_state_dict({"position": 4, "index_digest": trainer.source.index_digest})
    take(trainer, 2)
    assert torch.equal(weights(trainer), before)
    with pytest.raises(HistodsError) as caught:
        trainer._log(None)
    keys = ", ".join(trainer.source.keys_at(range(8, 11)))
    assert f"not finite in 2 steps in a row, the last of them 3 (samples {keys}, ...)" in str(caught.value)
    assert trainer.skipped == 2
    assert newest(tmp_path) == tmp_path / "checkpoints" / "step-00000003"


def test_the_averaged_network_is_a_copy_that_is_ready_to_sample(folder: Path, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, folder)
    take(trainer, 1)
    averaged, before = trainer.averaged(), weights(trainer)
    assert not averaged.training
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.zero_()
    assert torch.equal(weights(trainer), before)
    assert trainer.model.training


def test_a_checkpoint_of_another_network_is_refused_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    trainer, wider = make_trainer(tmp_path / "a", folder), make_trainer(tmp_path / "b", folder, "model.dim=16")
    parts = {"model": dict(wider.model.state_dict())}
    with pytest.raises(
        HistodsError, match="does not fit this network: .*; resume with the configuration with"
    ) as no:
        trainer.restore(trainer.state(), parts.__getitem__)
    assert "\n" not in str(no.value)
