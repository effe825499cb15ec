"""Plans: what is counted without computing is what a real pass keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from histods.errors import HistodsError
from training.config.load import read_config
from training.config.sections import TrainConfig
from training.distributed import Process
from training.model import cost as plan
from training.model.cost import TrainingCost, activation_bytes, estimate_cost, matrix_rate
from training.model.flops import count_flops
from training.model.unet import UNet

CPU = torch.device("cpu")
TINY = ("model.dim=16", "model.dim_mults=[1, 2]", "model.num_classes=3", "model.image_size=128")
RATE = 3e9
NO_EVALUATION = ("run.validate_every=0", "run.preview_every=0")


@pytest.fixture(autouse=True)
def _known_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes half a second each time."""
    monkeypatch.setattr(plan, "matrix_rate", lambda *_: RATE)


def config_of(*settings: str) -> TrainConfig:
    return read_config(None, [*TINY, *settings])


def plan_of(*settings: str, ranks: int = 1) -> TrainingCost:
    return estimate_cost(config_of(*settings), Process(device=CPU, world_size=ranks))


def kept_bytes(config: TrainConfig, batch: int, device: torch.device = CPU) -> int:
    """What a real forward pass keeps for the backward pass besides the weights, each memory once."""
    torch.manual_seed(0)
    model = UNet(config.model).train().to(device)
    weights = {weight.data_ptr() for weight in model.parameters()}
    kept: dict[int, tuple[torch.Tensor, int]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in weights:
            kept[memory.data_ptr()] = tensor, memory.nbytes()  # the tensor, so that no address is used twice
        return tensor

    size = config.model.image_size
    with (
        device,
        saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bf16"),
    ):
        model(
            torch.randn(batch, config.model.channels, size // 8, size // 8),
            torch.randint(0, 1000, (batch,)),
            torch.randint(0, 3, (batch, 1, size, size), dtype=torch.uint8),
            torch.zeros(batch, dtype=torch.bool),
        )
    return sum(nbytes for _, nbytes in kept.values())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_on_a_gpu_are_those_of_its_own_autocast(precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    config, device = config_of(f"run.precision={precision}"), torch.device("cuda")
    assert activation_bytes(config, 4, device) == pytest.approx(kept_bytes(config, 4, device), rel=0.2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "setting", ["model.spatial=true", "model.attention=plain", "model.null=zero_mask", "model.dropout=0.0"]
)
def test_counted_activations_are_those_of_a_real_pass(setting: str, precision: str) -> None:
    config = config_of(setting, f"run.precision={precision}")
    assert activation_bytes(config, 4, CPU) == pytest.approx(kept_bytes(config, 4), rel=0.2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_no_activations(precision: str) -> None:
    config = config_of("model.dim=64", "model.image_size=16", f"run.precision={precision}")
    assert activation_bytes(config, 1, CPU) == pytest.approx(kept_bytes(config, 1), rel=0.2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_grow_by_the_same_bytes_with_every_sample(precision: str) -> None:
    config = config_of(f"run.precision={precision}")
    two, four, eight = (activation_bytes(config, batch, CPU) for batch in (2, 4, 8))
    assert eight - four == pytest.approx(2 * (four - two), rel=0.001)
    assert four - two > 0.5 * two  # what does not grow is small


def test_half_precision_keeps_about_half() -> None:
    full, half = (activation_bytes(config_of(f"run.precision={name}"), 8, CPU) for name in ("fp32", "bf16"))
    assert 0.4 < half / full < 0.7


def test_counting_makes_no_random_numbers_and_no_memory() -> None:
    before = torch.get_rng_state()
    activation_bytes(config_of("model.image_size=512", "model.dim=256", "model.dim_mults=[1, 2, 4]"), 64, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_are_those_of_the_network_and_the_null_condition_stands_by_itself() -> None:
    learned = plan_of("run.steps=10")
    real = UNet(config_of().model)
    assert learned.parameters + learned.null_parameters == sum(weight.numel() for weight in real.parameters())
    assert learned.null_parameters == 16
    told_by_mask = plan_of("model.null=zero_mask")
    assert (told_by_mask.parameters, told_by_mask.null_parameters) == (learned.parameters, 0)


@pytest.mark.parametrize(("settings", "ranks", "share"), [((), 1, 8), (("run.accumulate=4",), 1, 2), ((), 2, 4)])
def test_memory_is_five_numbers_a_weight_and_the_activations_of_one_share(
    settings: tuple[str, ...], ranks: int, share: int
) -> None:
    settings = ("data.batch_size=8", *settings)
    made = plan_of(*settings, ranks=ranks)
    weights = made.parameters + made.null_parameters
    assert made.memory_bytes == 36 * weights + activation_bytes(config_of(*settings), share, CPU)


def test_time_is_operations_over_half_the_rate_shared_by_the_processes() -> None:
    for ranks in (1, 4):
        made = plan_of("run.steps=30", "data.batch_size=8", *NO_EVALUATION, ranks=ranks)
        assert made.flops_per_image == count_flops(config_of().model, train=True)
        assert made.matrix_rate == RATE
        assert made.seconds == pytest.approx(30 * 8 / ranks * made.flops_per_image / (0.5 * RATE))


def test_time_counts_validations_and_previews() -> None:
    settings = ("run.steps=30", "run.validation_samples=16", "run.preview_samples=2", "run.preview_steps=5")
    plain = plan_of(*settings, *NO_EVALUATION).seconds
    seen = plan_of(*settings, "run.validate_every=20", "run.preview_every=10").seconds
    forward = count_flops(config_of().model, train=False) / (0.5 * RATE)
    assert seen - plain == pytest.approx((2 * 2 * 16 + 3 * 2 * 2 * 5) * forward)


def test_the_rate_of_this_machine_is_a_rate() -> None:
    rate = matrix_rate(CPU, "fp32", seconds=0.05)
    assert math.isfinite(rate)
    assert 1e8 < rate < 1e15


def test_a_plan_of_a_network_without_classes_is_refused() -> None:
    config = config_of()
    with pytest.raises(HistodsError, match="model.num_classes"):
        activation_bytes(replace(config, model=replace(config.model, num_classes=None)), 2, CPU)
