"""Settings of sampling: defaults, and recipes in which only what changes the images is recorded."""

from __future__ import annotations

from training.config.sections import DiffusionConfig
from training.inference.sampling import Sampling


def test_defaults_suit_the_sampler_and_the_reference() -> None:
    given = DiffusionConfig(sampling_timesteps=250, guidance_scale=3.0)
    assert Sampling.of(given) == Sampling(sampler="dpm", steps=25, guidance=3.0, eta=0.0, reference=False)
    assert Sampling.of(given, sampler="ddim") == Sampling(
        sampler="ddim", steps=250, guidance=3.0, eta=0.0, reference=False
    )
    assert Sampling.of(given, reference=True) == Sampling(
        sampler="ddim", steps=250, guidance=3.0, eta=1.0, reference=True
    )
    assert Sampling.of(given, reference=True, sampler="dpm", steps=10).eta == 0
    assert Sampling.of(DiffusionConfig(timesteps=8, sampling_timesteps=4)).steps == 8


def test_a_recipe_has_the_keys_of_earlier_versions_and_of_what_else_is_not_the_default() -> None:
    first = {"sampler": "dpm", "steps": 25, "guidance": 3.0, "eta": 0.0, "reference": False}
    assert Sampling.of(DiffusionConfig()).recipe() == first
    more = Sampling.of(DiffusionConfig(), guidance_interval=(0.2, 0.7), guidance_rescale=0.5)
    assert more.recipe() == first | {"guidance_interval": [0.2, 0.7], "guidance_rescale": 0.5}
    assert str(more) == "DPM-Solver++(2M), 25 steps, guidance 3, guided at 0.2 to 0.7 of noise, rescaled by 0.5"
