"""Samplers: diffusers' steps, exact solutions where there are some, pictures that depend on their seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch

from histods.errors import HistodsError
from tests.training.diffusion.small_network import Network, masks
from tests.training.diffusion.test_process import exploding
from training.config.sections import DiffusionConfig, Prediction
from training.diffusion import samplers as sampler
from training.diffusion.guidance import guided, one_pass_per_class
from training.diffusion.levels import sampling_times
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import ddim, dpm_solver_2m
from training.diffusion.unipc import unipc

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.diffusion.levels import Levels
    from training.diffusion.samplers import Denoise

SHAPE = (4, 8, 8)
THEIRS: dict[Prediction, str] = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
BETAS = {"cosine": "squaredcos_cap_v2", "linear": "linear"}
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
MEAN, DEVIATION = 0.5, 0.3


def schedule(kind: Any = "cosine", *, zero: bool = False) -> Schedule:
    if kind == "exploding":
        return Schedule.from_path(*exploding(1000))
    return Schedule.of(DiffusionConfig(schedule=kind, zero_terminal_snr=zero))


def some_network(x: Tensor, t: Tensor) -> Tensor:
    """Any smooth function of neighbours and time."""
    mixed = x + 0.5 * x.roll(1, -1) - 0.3 * x.roll(1, 1)
    return torch.sin(mixed + t[:, None, None, None] / 300) * 0.8


def gaussian(levels: Schedule) -> Denoise:
    """The best prediction of x0 where data are N(MEAN, DEVIATION^2)."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        signal, noise = levels.at(t)
        share = DEVIATION**2 * signal / (signal**2 * DEVIATION**2 + noise**2)
        return MEAN + share * (x - signal * MEAN)

    return denoise


def exact(levels: Schedule, start: Tensor) -> Tensor:
    """Where the probability flow of that data leads from standard normal noise: it stretches and moves."""
    signal, noise = levels.signal_T[-1], levels.noise_T[-1]
    x = (signal**2 + noise**2).sqrt() * start
    width = (signal**2 * DEVIATION**2 + noise**2).sqrt()
    return MEAN + DEVIATION * (x - signal * MEAN) / width


def steps_of(scheduler: Any, times: list[int], x: Tensor, **options: Any) -> Tensor:
    for time in times:
        output = some_network(x, torch.full((len(x),), time))
        x = scheduler.step(output, time, x, **options).prev_sample
    return x


@pytest.fixture
def _all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin at the last level whatever its signal, as diffusers does."""
    monkeypatch.setattr(sampler, "_MIN_SIGNAL", 0.0)


@pytest.mark.usefixtures("_all_levels")
@pytest.mark.parametrize("steps", [10, 250])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(
    ("kind", "prediction", "zero"),
    [
        ("linear", "epsilon", False),
        ("cosine", "v", False),
        ("linear", "v", True),
        ("cosine", "v", True),
        ("cosine", "x0", False),
    ],
)
def test_ddim_is_diffusers(kind: str, prediction: Prediction, zero: bool, clip: float | None, steps: int) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        1000,
        beta_schedule=BETAS[kind],
        prediction_type=THEIRS[prediction],
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero,
    )
    scheduler.set_timesteps(steps)
    times = sampling_times(1000, steps)
    assert scheduler.timesteps.tolist() == times[:-1]
    x = normal_noise([1, 2], SHAPE, "cpu")
    theirs = steps_of(scheduler, times[:-1], x, use_clipped_model_output=prediction != "epsilon")
    ours = ddim(some_network, schedule(kind, zero=zero), x, prediction=prediction, steps=steps, clip=clip)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_ddim_with_noise_is_diffusers_given_the_same_noise() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        1000, beta_schedule="squaredcos_cap_v2", clip_sample=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(50)
    x = normal_noise([1, 2], SHAPE, "cpu")
    theirs = x
    for step, time in enumerate(sampling_times(1000, 50)[:-1], start=1):
        output = some_network(theirs, torch.full((2,), time))
        fresh = normal_noise([1, 2], SHAPE, "cpu", stream=step)
        theirs = scheduler.step(output, time, theirs, eta=0.7, variance_noise=fresh).prev_sample
    ours = ddim(some_network, schedule(), x, prediction="epsilon", steps=50, eta=0.7, clip=1.0, seeds=[1, 2])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_all_levels")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers with NumPy 2
@pytest.mark.parametrize("steps", [5, 25, 100])
@pytest.mark.parametrize(
    ("kind", "prediction"), [("linear", "epsilon"), ("linear", "v"), ("cosine", "v"), ("cosine", "x0")]
)
def test_dpm_solver_is_diffusers(kind: str, prediction: Prediction, steps: int) -> None:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        1000,
        beta_schedule=BETAS[kind],
        prediction_type=THEIRS[prediction],
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
    )
    times = sampling_times(1000, steps)[:-1]
    scheduler.set_timesteps(timesteps=times)
    x = normal_noise([1, 2], SHAPE, "cpu")
    theirs = steps_of(scheduler, times, x)
    ours = dpm_solver_2m(some_network, schedule(kind), x, prediction=prediction, steps=steps)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_all_levels")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("steps", [5, 25, 100])
@pytest.mark.parametrize(
    ("kind", "prediction"), [("linear", "epsilon"), ("linear", "v"), ("cosine", "v"), ("cosine", "x0")]
)
def test_unipc_is_diffusers(kind: str, prediction: Prediction, steps: int) -> None:
    from diffusers import UniPCMultistepScheduler

    levels, times = schedule(kind), sampling_times(1000, steps)[:-1]
    scheduler = UniPCMultistepScheduler(1000, beta_schedule=BETAS[kind], prediction_type=THEIRS[prediction])
    scheduler.set_timesteps(steps)
    ratios = (levels.noise_T / levels.signal_T)[times]
    scheduler.timesteps, scheduler.sigmas = torch.tensor(times), torch.cat([ratios, torch.zeros(1)])
    x = normal_noise([1, 2], SHAPE, "cpu")
    theirs = steps_of(scheduler, times, x)
    ours = unipc(some_network, levels, x, prediction=prediction, steps=steps)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_all_converge_to_the_exact_flow(kind: str, zero: bool) -> None:
    levels = schedule(kind, zero=zero)
    x = normal_noise([1], SHAPE, "cpu")

    def error(solve: Callable[..., Tensor], steps: int) -> float:
        made = solve(gaussian(levels), levels, x, prediction="x0", steps=steps)
        return (made - exact(levels, x)).abs().max().item()

    coarse_1, fine_1 = error(ddim, 20), error(ddim, 80)
    coarse_2, fine_2 = error(dpm_solver_2m, 20), error(dpm_solver_2m, 80)
    assert fine_1 < coarse_1 / 3  # first order: a quarter of the step, a quarter of the error
    assert fine_2 < coarse_2 / 12  # second order: a sixteenth
    assert fine_2 < 3e-3 < fine_1
    assert coarse_2 < coarse_1
    assert error(unipc, 80) < min(error(unipc, 20) / 12, 5e-3)


def test_both_converge_on_straight_lines() -> None:
    levels = schedule("rectified_flow")
    x = normal_noise([1], SHAPE, "cpu")
    coarse_1, fine_1, coarse_2, fine_2 = (
        (solve(gaussian(levels), levels, x, prediction="x0", steps=steps) - exact(levels, x)).abs().max().item()
        for solve in (ddim, dpm_solver_2m)
        for steps in (40, 320)
    )
    assert fine_1 < coarse_1 / 7
    assert fine_2 < coarse_2 / 20
    assert fine_2 < 1e-3 < fine_1


@pytest.mark.usefixtures("_all_levels")
@pytest.mark.parametrize("kind", ["linear", "rectified_flow", "exploding"])
@pytest.mark.parametrize("solve", [ddim, dpm_solver_2m, unipc])
def test_every_prediction_leads_to_the_same_picture(solve: Callable[..., Tensor], kind: str) -> None:
    levels = schedule(kind)
    best = gaussian(levels)

    def predict(prediction: Prediction) -> Denoise:
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            x0 = best(x, t)
            return levels.target(prediction, x0, levels.to_noise("x0", x0, x, t), t)

        return denoise

    x = normal_noise([5], SHAPE, "cpu")
    sound = [kind for kind in PREDICTIONS if levels.signal_T[-1] > 0 or kind != "epsilon"]
    pictures = [solve(predict(kind), levels, x, prediction=kind, steps=30) for kind in sound]
    for picture in pictures[1:]:
        torch.testing.assert_close(picture, pictures[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["rectified_flow", "exploding"])
@pytest.mark.parametrize("solve", [ddim, dpm_solver_2m])
def test_samples_of_the_exact_flow_have_the_mean_and_the_deviation_of_the_data(
    solve: Callable[..., Tensor], kind: str
) -> None:
    levels = schedule(kind)
    best = gaussian(levels)

    def flow(x: Tensor, t: Tensor) -> Tensor:
        x0 = best(x, t)
        return levels.target("flow", x0, levels.to_noise("x0", x0, x, t), t)

    x = normal_noise(range(16), (4, 16, 16), "cpu")
    made = solve(flow, levels, x, prediction="flow", steps=200)
    assert made.mean() == pytest.approx(MEAN, abs=4 * DEVIATION / made.numel() ** 0.5)
    assert made.std() == pytest.approx(DEVIATION, rel=0.03)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers with NumPy 2
@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_ddim_on_straight_lines_is_the_euler_scheduler_of_diffusers(steps: int) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(1000)
    times = sampling_times(1000, steps)[:-1]
    scheduler.set_timesteps(sigmas=[(time + 1) / 1000 for time in times], timesteps=times)
    x = normal_noise([1, 2], SHAPE, "cpu")
    theirs = x
    for time in scheduler.timesteps:
        theirs = scheduler.step(some_network(theirs, time.repeat(2)), time, theirs).prev_sample
    ours = ddim(some_network, schedule("rectified_flow"), x, prediction="flow", steps=steps)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["cosine", "rectified_flow", "exploding"])
def test_ddim_with_all_the_noise_draws_from_the_data(kind: str) -> None:
    levels = schedule(kind)
    seeds = list(range(16))
    x = normal_noise(seeds, (4, 16, 16), "cpu")
    made = ddim(gaussian(levels), levels, x, prediction="x0", steps=1000, eta=1.0, seeds=seeds)
    assert made.mean() == pytest.approx(MEAN, abs=4 * DEVIATION / made.numel() ** 0.5)
    assert made.std() == pytest.approx(DEVIATION, rel=0.02)
    # Noise of its own made every picture: it has forgotten where it began, and its neighbours.
    pairs = torch.corrcoef(torch.cat([made.flatten(1), x.flatten(1)]))
    assert (pairs - torch.eye(32)).abs().max() < 5 / 1024**0.5


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    ("solve", "options"),
    [(ddim, {}), (ddim, {"eta": 1.0}), (dpm_solver_2m, {}), (unipc, {}), (unipc, {"levels": "log-snr"})],
    ids=["ddim", "ddim with noise", "dpm", "unipc", "unipc, log-snr"],
)
@pytest.mark.parametrize("guide", [guided, one_pass_per_class])
def test_a_picture_depends_on_its_seed_and_mask_alone(
    guide: Callable[..., Denoise], solve: Callable[..., Tensor], options: dict[str, Any], zero: bool
) -> None:
    module, levels = Network(), schedule(zero=zero)
    seeds, wanted = [3, 2**62 + 1, 7], masks((0, 1), (3, 1), (2, 0))

    def make(rows: list[int]) -> Tensor:
        own = [seeds[row] for row in rows]
        noise = normal_noise(own, SHAPE, "cpu")
        extra = options | ({"seeds": own} if "eta" in options else {})
        return solve(guide(module, wanted[rows], 3.0), levels, noise, prediction="v", steps=10, **extra)

    together = make([0, 1, 2])
    assert torch.isfinite(together).all()
    for rows in ([0], [1], [2], [2, 0]):
        torch.testing.assert_close(make(rows), together[rows], rtol=0, atol=1e-5)
    assert (together[0] - together[2]).abs().max() > 0.1


@pytest.mark.parametrize("solve", [ddim, dpm_solver_2m, unipc])
def test_clipped_pictures_stay_within_the_clip(solve: Callable[..., Tensor]) -> None:
    x = normal_noise([1], SHAPE, "cpu")
    made = solve(lambda x, _t: 5 * x, schedule(), x, prediction="x0", steps=10, clip=0.7)
    assert made.abs().max() == pytest.approx(0.7)
    free = solve(some_network, schedule(), x, prediction="x0", steps=10)
    assert torch.equal(solve(some_network, schedule(), x, prediction="x0", steps=10, clip=9.0), free)


@pytest.mark.parametrize("solve", [ddim, dpm_solver_2m, unipc])
@pytest.mark.parametrize("steps", [1, 7])
def test_every_step_is_told_and_asks_the_network_once(solve: Callable[..., Tensor], steps: int) -> None:
    told: list[tuple[int, int]] = []
    asked: list[int] = []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        asked.extend(t.tolist())
        return x.requires_grad_(x.is_leaf)

    x = normal_noise([1], SHAPE, "cpu")
    made = solve(denoise, schedule(), x, prediction="v", steps=steps, progress=lambda *step: told.append(step))
    assert told == [(step + 1, steps) for step in range(steps)]
    assert asked == sampling_times(1000, steps)[:-1]
    assert not made.requires_grad  # no graph of all the steps is kept


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3]])
def test_noise_on_the_way_needs_a_seed_an_image(seeds: list[int]) -> None:
    x = normal_noise([1, 2], SHAPE, "cpu")
    with pytest.raises(HistodsError, match="a seed for each of 2 images"):
        ddim(some_network, schedule(), x, prediction="v", steps=5, eta=1.0, seeds=seeds)


@pytest.mark.parametrize("method", ["ddim", "ddpm", "dpm", "unipc", "unipc, log-snr"])
@pytest.mark.parametrize(
    ("kind", "zero"), [("cosine", False), ("linear", False), ("cosine", True), ("rectified_flow", False)]
)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_error_of_1_percent_in_each_prediction_changes_the_spread_of_samples_by_less_than_5_percent(
    prediction: Prediction, kind: str, zero: bool, method: str
) -> None:
    if (zero or kind == "rectified_flow") and prediction == "epsilon":
        pytest.skip("refused: of pure noise, its noise says nothing")
    levels, random = schedule(kind, zero=zero), torch.Generator().manual_seed(0)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        """The best prediction where data are standard normal, with an error."""
        signal, noise = levels.at(t)
        x0 = signal * x / (signal**2 + noise**2)
        answer = levels.target(prediction, x0, levels.to_noise("x0", x0, x, t), t)
        return answer + 0.01 * torch.randn(x.shape, generator=random)

    start = torch.randn(16, *SHAPE, generator=random)
    if method == "dpm":
        made = dpm_solver_2m(denoise, levels, start, prediction=prediction, steps=25)
    elif method.startswith("unipc"):
        spacing: Levels = "log-snr" if "log-snr" in method else "time"
        made = unipc(denoise, levels, start, prediction=prediction, steps=25, levels=spacing)
    else:
        eta, seeds = (1.0, range(16)) if method == "ddpm" else (0.0, ())
        made = ddim(denoise, levels, start, prediction=prediction, steps=250, eta=eta, seeds=list(seeds))
    assert abs(made.std().item() / start.std().item() - 1) < 0.05
    assert abs(made.mean().item()) < 0.05


@pytest.mark.parametrize(("steps", "clip", "made"), [(1000, None, 967), (250, None, 250), (1000, 1.0, 1000)])
def test_levels_that_are_left_out_are_no_steps(steps: int, clip: float | None, made: int) -> None:
    told: list[tuple[int, int]] = []
    ddim(
        some_network,
        schedule(),
        torch.randn(1, *SHAPE),
        prediction="epsilon",
        steps=steps,
        clip=clip,
        progress=lambda step, of: told.append((step, of)),
    )
    assert told[-1] == (made, made)
    assert len(told) == made
