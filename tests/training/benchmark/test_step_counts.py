"""Work is counted as PyTorch dispatches it: operations and bytes by hand are those of the ledger."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from tests.training.benchmark.test_timing import CPU, MODEL, trial_of
from training.benchmark.step_counts import _Ledger, count_step
from training.benchmark.timing import Synthetic
from training.latents.latent_space import LatentSpace


def test_operations_and_bytes_are_those_counted_by_hand() -> None:
    x, weight = torch.zeros(3, 4), torch.zeros(4, 5)
    with _Ledger() as ledger:
        torch.empty(1000)  # takes memory, moves no byte
        x.view(4, 3).t()  # the same bytes
        (x @ weight).relu_()
    assert dict(ledger.launches) == {"mm": 1, "relu_": 1}
    assert ledger.bytes == 4 * (12 + 20 + 15) + 4 * (15 + 15)


def test_the_backward_pass_counts() -> None:
    x = torch.ones(3, requires_grad=True)
    loss = (x * x).sum()
    with _Ledger() as ledger:
        loss.backward()  # type: ignore[no-untyped-call]
    assert ledger.launches["mul"] >= 2


@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_counts_the_same_twice_and_sends_its_batch(batch: int) -> None:
    source = Synthetic(MODEL)
    counts = [count_step(trial_of(batch), CPU, source, LatentSpace()) for _ in range(2)]
    assert counts[0] == counts[1]
    (sent,) = islice(source.batches(0, batch, CPU), 1)
    assert counts[0].to_device == sum(tensor.nbytes for tensor in sent if tensor is not None)
    assert counts[0].launches == sum(counts[0].by_operation.values()) > 100
    assert [*counts[0].by_operation.values()] == sorted(counts[0].by_operation.values(), reverse=True)
