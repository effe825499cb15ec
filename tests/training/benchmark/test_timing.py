"""One measurement: honest figures of the steps that are trained, and what a device cannot do as an entry."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from training.benchmark.timing import Synthetic, make_trainer, time_training_step
from training.config.model import ModelConfig
from training.config.sections import DataConfig, RunConfig, TrainConfig
from training.distributed import Process
from training.latents.latent_space import LatentSpace

MODEL = ModelConfig(dim=4, dim_mults=(1, 2), image_size=32, num_classes=3)
CPU = Process(device=torch.device("cpu"))


def trial_of(batch: int = 2, **run: Any) -> TrainConfig:
    return TrainConfig(model=MODEL, data=DataConfig(batch_size=batch), run=RunConfig(**run))


def test_a_batch_is_a_function_of_the_seed_and_fits_the_network() -> None:
    source = Synthetic(MODEL)
    one, again = islice(source.batches(3, 2, CPU), 2)
    (same,) = islice(Synthetic(MODEL).batches(3, 2, CPU), 1)
    (other,) = islice(source.batches(4, 2, CPU), 1)
    assert torch.equal(one.masks_BCHW, again.masks_BCHW)
    assert torch.equal(one.masks_BCHW, same.masks_BCHW)
    assert not torch.equal(one.masks_BCHW, other.masks_BCHW)
    assert one.masks_BCHW.shape == (2, 1, 32, 32)
    assert int(one.masks_BCHW.max()) < len(source.classes) == 3


def test_a_trainer_of_the_same_settings_begins_with_the_same_weights_and_writes_nothing(tmp_path: Path) -> None:
    first, second = (make_trainer(trial_of(), CPU, Synthetic(MODEL), LatentSpace()) for _ in range(2))
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not first.folder.exists()
    assert not list(tmp_path.iterdir())


def test_no_memory_is_an_entry_and_leaves_the_next_trial_unharmed() -> None:
    huge = time_training_step(trial_of(batch=1 << 40), CPU, Synthetic(MODEL), LatentSpace(), 0.01)
    assert huge.images_per_second is None
    assert "memory" in str(huge.error)
    assert "\n" not in str(huge.error)
    assert time_training_step(trial_of(), CPU, Synthetic(MODEL), LatentSpace(), 0.01).error is None


# The compiler is missed whatever the network is: one convolution is traced in a moment, the whole takes a minute.
UNCOMPILED = """
import torch
import training.benchmark.timing
from tests.training.benchmark.test_timing import CPU, MODEL, LatentSpace, Synthetic, time_training_step, trial_of

class Convolution(torch.nn.Conv2d):
    def __init__(self, config):
        super().__init__(config.channels, config.channels, 1)

    def forward(self, latents, times, mask, dropped):
        return super().forward(latents).sin()

training.benchmark.timing.UNet = Convolution
assert time_training_step(trial_of(), CPU, Synthetic(MODEL), LatentSpace(), 0.01).error is None
print(time_training_step(trial_of(compile=True), CPU, Synthetic(MODEL), LatentSpace(), 0.01).error)
"""


def test_a_missing_compiler_is_an_entry(tmp_path: Path) -> None:
    environment = {
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", UNCOMPILED],
        cwd=Path(__file__).parent.parent.parent.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "compiler" in done.stdout
    assert done.stdout.count("\n") == 1


def test_waiting_for_data_is_seen() -> None:
    class Slow(Synthetic):
        def batches(self, seed: int, batch_size: int, process: Process) -> Any:
            inner = super().batches(seed, batch_size, process)

            def slowly() -> Any:
                for batch in inner:
                    time.sleep(0.2)
                    yield batch

            return slowly()

    found = time_training_step(trial_of(), CPU, Slow(MODEL), LatentSpace(), 0.01)
    assert found.waiting is not None
    assert 0.2 < found.waiting < 1
