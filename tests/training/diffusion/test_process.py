"""The diffusion process: as diffusers has it, and as the papers write it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from training.config.sections import DiffusionConfig, Prediction
from training.diffusion.process import (
    NOISE_SCHEDULES,
    Loss,
    NoisePath,
    Schedule,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)

if TYPE_CHECKING:
    from torch import Tensor

KINDS = [("cosine", "squaredcos_cap_v2"), ("linear", "linear")]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)


def exploding(timesteps: int) -> tuple[Tensor, Tensor]:
    """A path whose variance explodes: all of the signal, and noise from 0.02 to 40 (after Song et al. 2021)."""
    noise = torch.logspace(math.log10(0.02), math.log10(40), timesteps, dtype=torch.float64)
    return torch.ones_like(noise), noise


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both(ours: str, theirs: str, *, zero: bool = False) -> tuple[Schedule, Any]:
    from diffusers import DDPMScheduler

    config = DiffusionConfig(schedule=ours, zero_terminal_snr=zero)
    return Schedule.of(config), DDPMScheduler(1000, beta_schedule=theirs, rescale_betas_zero_snr=zero)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_signal_and_noise_are_those_of_diffusers(ours: str, theirs: str, zero: bool) -> None:
    schedule, reference = both(ours, theirs, zero=zero)
    bars = reference.alphas_cumprod
    torch.testing.assert_close(schedule.signal_T.square(), bars, rtol=2e-4, atol=1e-6)
    torch.testing.assert_close(schedule.noise_T.square(), 1 - bars, rtol=2e-4, atol=1e-6)


def test_betas_are_those_of_diffusers() -> None:
    torch.testing.assert_close(cosine_betas(1000).float(), both(*KINDS[0])[1].betas, rtol=0, atol=1e-6)
    torch.testing.assert_close(linear_betas(1000).float(), both(*KINDS[1])[1].betas, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [cosine_betas, linear_betas])
def test_rescaling_keeps_the_first_level_and_empties_the_last(make: Any) -> None:
    betas = make(1000)
    before, after = Schedule.from_betas(betas), Schedule.from_betas(rescale_zero_terminal_snr(betas))
    assert after.signal_T[0] == before.signal_T[0]
    assert (after.signal_T[-1].item(), after.noise_T[-1].item()) == (0, 1)
    assert (after.signal_T.diff() < 0).all()
    assert (after.noise_T.diff() >= 0).all()
    shift = (before.signal_T[1:-1] - after.signal_T[1:-1]).double().diff() / before.signal_T[1:-1].double().diff()
    assert shift.std() < 1e-2  # signals are moved and stretched, nothing else


@given(st.integers(2, 1500), st.sampled_from(["cosine", "linear"]), st.booleans())
@settings(deadline=None, max_examples=40)
def test_signal_and_noise_keep_variance_at_every_level(timesteps: int, kind: str, zero: bool) -> None:
    config = DiffusionConfig(timesteps=timesteps, sampling_timesteps=1, schedule=kind, zero_terminal_snr=zero)
    schedule = Schedule.of(config)
    energy = schedule.signal_T.double().square() + schedule.noise_T.double().square()
    torch.testing.assert_close(energy, torch.ones_like(energy), rtol=0, atol=3e-7)
    assert (schedule.noise_T > 0).all()
    assert len(schedule.signal_T) == timesteps


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_noisy_latents_and_velocity_are_those_of_diffusers(ours: str, theirs: str) -> None:
    schedule, reference = both(ours, theirs)
    times = torch.tensor([0, 1, 250, 500, 998, 999])
    x0, noise = drawn(6, 4, 8, 8), drawn(6, 4, 8, 8, seed=1)
    ours_, theirs_ = schedule.add_noise(x0, noise, times), reference.add_noise(x0, noise, times)
    torch.testing.assert_close(ours_, theirs_, rtol=1e-4, atol=1e-5)
    velocity = reference.get_velocity(x0, noise, times)
    torch.testing.assert_close(schedule.target("v", x0, noise, times), velocity, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("timesteps", [2, 10, 1000])
def test_rectified_flow_leads_in_equal_steps_from_data_to_pure_noise(timesteps: int) -> None:
    config = DiffusionConfig(
        schedule="rectified_flow", prediction="flow", timesteps=timesteps, sampling_timesteps=1
    )
    schedule = Schedule.of(config)
    times = (torch.arange(timesteps) + 1.0) / timesteps
    torch.testing.assert_close(schedule.noise_T, times)
    torch.testing.assert_close(schedule.signal_T, 1 - times, rtol=0, atol=1e-7)
    assert (schedule.signal_T[-1].item(), schedule.noise_T[-1].item()) == (0, 1)
    x0, noise = drawn(timesteps, 2, 4, 4).double(), drawn(timesteps, 2, 4, 4, seed=1).double()
    t = torch.arange(timesteps)
    x, flow = schedule.add_noise(x0, noise, t), schedule.target("flow", x0, noise, t)
    torch.testing.assert_close(x, x0 + times[:, None, None, None] * flow, rtol=0, atol=1e-6)


def test_betas_have_a_power_of_exactly_1_so_that_dividing_by_it_changes_no_bit() -> None:
    for kind in ("cosine", "linear"):
        for zero in (False, True):
            schedule = Schedule.of(DiffusionConfig(schedule=kind, zero_terminal_snr=zero))
            assert set(schedule.power_T.tolist()) == {1}


@given(
    st.integers(0, 2**31),
    st.integers(0, 900),
    st.sampled_from(["cosine", "linear", "rectified_flow", "exploding"]),
)
@settings(deadline=None, max_examples=80)
def test_every_prediction_means_the_same_x0_and_noise(seed: int, level: int, kind: str) -> None:
    if kind == "exploding":
        schedule = Schedule.from_path(*exploding(1000))
        level = min(level, 500)  # where noise is not much larger than x0
    else:
        schedule = Schedule.of(DiffusionConfig(schedule=kind))
    x0, noise = drawn(2, 3, 4, 4, seed=seed), drawn(2, 3, 4, 4, seed=seed + 1)
    times = torch.tensor([level, level // 2])
    x = schedule.add_noise(x0, noise, times)
    for prediction in PREDICTIONS:
        output = schedule.target(prediction, x0, noise, times)
        torch.testing.assert_close(schedule.to_x0(prediction, output, x, times), x0, rtol=0, atol=1e-4)
        # Where there is little noise, x0 tells little of it: the first levels of x0 lose digits.
        torch.testing.assert_close(schedule.to_noise(prediction, output, x, times), noise, rtol=0, atol=1e-3)


@given(st.integers(0, 2**31), st.integers(0, 999), st.sampled_from(["v", "x0", "flow"]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_v_x0_and_flow_are_sound_down_to_the_level_of_no_signal(
    seed: int, level: int, prediction: Prediction, straight: bool
) -> None:
    kind = "rectified_flow" if straight else "cosine"
    schedule = Schedule.of(DiffusionConfig(schedule=kind, zero_terminal_snr=not straight))
    x0, noise, times = drawn(2, 3, 4, 4, seed=seed), drawn(2, 3, 4, 4, seed=seed + 1), torch.tensor([level, 999])
    x = schedule.add_noise(x0, noise, times)
    output = schedule.target(prediction, x0, noise, times)
    torch.testing.assert_close(schedule.to_x0(prediction, output, x, times), x0, rtol=0, atol=1e-5)
    torch.testing.assert_close(schedule.to_noise(prediction, output, x, times), noise, rtol=0, atol=1e-3)
    torch.testing.assert_close(x[1], noise[1], rtol=0, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 5.0, 20.0])
@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_weights_are_the_formulas_of_min_snr(kind: str, gamma: float) -> None:
    schedule = Schedule.of(DiffusionConfig(schedule=kind))
    betas = {"cosine": cosine_betas, "linear": linear_betas}[kind](1000)
    bars = (1 - betas).cumprod(0)
    snr = bars / (1 - bars)
    least = snr.clamp(max=gamma)
    weights: dict[Prediction, Tensor] = {"v": least / (snr + 1), "epsilon": least / snr, "x0": least}
    for prediction, expected in weights.items():
        torch.testing.assert_close(
            schedule.loss_weights(prediction, gamma), expected.float(), rtol=1e-4, atol=1e-7
        )


@given(
    st.integers(0, 2**31), st.integers(1, 998), st.floats(0.1, 50), st.sampled_from(["linear", "rectified_flow"])
)
@settings(deadline=None, max_examples=60)
def test_one_error_weighs_the_same_whatever_is_predicted(seed: int, level: int, gamma: float, kind: str) -> None:
    schedule = Schedule.of(DiffusionConfig(schedule=kind))
    x0, noise, wrong_x0 = (drawn(1, 2, 4, 4, seed=seed + part).double() for part in range(3))
    times = torch.tensor([level])
    x = schedule.add_noise(x0, noise, times)
    wrong_noise = schedule.to_noise("x0", wrong_x0, x, times)
    losses = [
        (schedule.target(kind, wrong_x0, wrong_noise, times) - schedule.target(kind, x0, noise, times))
        .square()
        .mean()
        * schedule.loss_weights(kind, gamma)[level]
        for kind in PREDICTIONS
    ]
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-3, atol=0)


def test_weights_are_finite_at_zero_terminal_snr() -> None:
    schedule = Schedule.of(DiffusionConfig(zero_terminal_snr=True))
    weights = {prediction: schedule.loss_weights(prediction, 5.0) for prediction in PREDICTIONS}
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert {prediction: weight[-1].item() for prediction, weight in weights.items()} == {
        "epsilon": 1,
        "v": 0,
        "x0": 0,
        "flow": 0,
    }


@pytest.mark.parametrize("zero", [False, True])
def test_no_level_of_v_weighs_less_than_the_least_weight_and_the_others_as_before(zero: bool) -> None:
    schedule = Schedule.of(DiffusionConfig(zero_terminal_snr=zero))
    plain, raised = schedule.loss_weights("v", 5.0), schedule.loss_weights("v", 5.0, 0.1)
    assert plain[-100:].sum() / plain.sum() < 0.003  # the share of the levels at which brightness is decided
    assert raised[-100:].sum() / raised.sum() > 0.025
    assert torch.equal(raised, plain.clamp_min(0.1))
    for prediction in ("epsilon", "x0", "flow"):
        assert torch.equal(schedule.loss_weights(prediction, 5.0, 0.1), schedule.loss_weights(prediction, 5.0))


def test_without_gamma_all_errors_weigh_alike() -> None:
    schedule = Schedule.of(DiffusionConfig())
    assert all(torch.unique(schedule.loss_weights(prediction, None)).tolist() == [1] for prediction in PREDICTIONS)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_sample_s_loss_is_its_own_weighted_mean_square(prediction: Prediction) -> None:
    config = DiffusionConfig(prediction=prediction)
    schedule = Schedule.of(config)
    x0, noise, times = drawn(3, 4, 8, 8), drawn(3, 4, 8, 8, seed=1), torch.tensor([10, 500, 990])
    target = schedule.target(prediction, x0, noise, times)
    assert Loss(schedule, config)(target, x0, noise, times).tolist() == [0, 0, 0]
    errors = torch.tensor([1.0, 2.0, 3.0])
    losses = Loss(schedule, config)(target + errors[:, None, None, None], x0, noise, times)
    expected = errors.square() * schedule.loss_weights(prediction, 5.0)[times]
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-7)


def test_the_loss_of_a_bfloat16_output_is_taken_in_float32() -> None:
    config = DiffusionConfig()
    schedule = Schedule.of(config)
    x0, noise, times = drawn(2, 4, 8, 8), drawn(2, 4, 8, 8, seed=1), torch.tensor([10, 500])
    output = drawn(2, 4, 8, 8, seed=2).bfloat16().requires_grad_()
    losses = Loss(schedule, config)(output, x0, noise, times)
    assert losses.dtype == torch.float32
    expected = Loss(schedule, config)(output.detach().float(), x0, noise, times)
    torch.testing.assert_close(losses.detach(), expected, rtol=0, atol=0)
    torch.autograd.backward(losses.mean())
    assert output.grad is not None


def test_latents_of_half_precision_lose_nothing_more_in_the_loss() -> None:
    config = DiffusionConfig(prediction="x0", min_snr_gamma=None)
    x0, output = drawn(2, 4, 8, 8).bfloat16(), drawn(2, 4, 8, 8, seed=1).bfloat16()
    losses = Loss(Schedule.of(config), config)(output, x0, x0, torch.tensor([10, 500]))
    expected = (output.double() - x0.double()).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(losses.double(), expected, rtol=1e-6, atol=0)


def test_a_schedule_moves_as_a_whole() -> None:
    moved = Schedule.of(DiffusionConfig()).to("meta")
    assert {table.device.type for table in (moved.signal_T, moved.noise_T, moved.power_T)} == {"meta"}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"timesteps": 1}, "diffusion.timesteps is 1; it must be at least 2: correct it"),
        (
            {"sampling_timesteps": 1001},
            "sampling_timesteps is 1001; it must be from 1 to the number of timesteps, 1000",
        ),
        ({"sampling_timesteps": 0}, "sampling_timesteps"),
        ({"prediction": "score"}, "prediction is score; it must be epsilon, v, x0 or flow"),
        ({"levels": "normal"}, "levels is normal; it must be uniform or logit_normal"),
        ({"min_snr_gamma": 0.0}, "min_snr_gamma"),
        ({"min_v_weight": -0.1}, "min_v_weight"),
        ({"min_v_weight": 1.5}, "min_v_weight"),
        ({"null_probability": 1.5}, "null_probability is 1.5; it must be from 0 to 1"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"zero_terminal_snr": True, "prediction": "epsilon"}, "prediction is epsilon; it must be v, x0 or flow"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, Any], word: str) -> None:
    with pytest.raises(HistodsError, match=word):
        DiffusionConfig(**values)


def test_a_schedule_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        HistodsError, match=r"^diffusion.schedule is 'sigmoid'; it must be cosine, linear or rectified_flow: "
    ):
        Schedule.of(DiffusionConfig(schedule="sigmoid"))


def test_settings_that_do_not_fit_a_path_are_refused() -> None:
    with pytest.raises(HistodsError, match=r"snr is True; it must be false with schedule rectified_flow"):
        Schedule.of(DiffusionConfig(schedule="rectified_flow", zero_terminal_snr=True))
    with pytest.raises(HistodsError, match=r"is epsilon; it must be flow, v or x0 with schedule rectified"):
        Schedule.of(DiffusionConfig(schedule="rectified_flow", prediction="epsilon"))


def test_noise_may_be_predicted_on_a_path_that_keeps_some_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NOISE_SCHEDULES, "exploding", NoisePath(exploding))
    schedule = Schedule.of(DiffusionConfig(schedule="exploding", prediction="epsilon"))
    assert schedule.noise_T[-1].item() == pytest.approx(40)
