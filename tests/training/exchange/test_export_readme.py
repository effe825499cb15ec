"""The README of an export: its code is Python whatever the names of classes are, and its words are of this run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.training.published import SMALL
from training.config.sections import DiffusionConfig, TrainConfig
from training.exchange.export_readme import write_guide
from training.latents.latent_space import LatentSpace
from training.runs.checkpoint import Run, State

KINDS = [None, "linear", "AutoencoderKL", "AutoencoderTiny"]


def run(*classes: str, clip: float | None = 4.0, prediction: str = "v") -> Run:
    state = State(
        step=12_345, position=0, index_digest="", classes=classes, map_digest="", autoencoder={},
        latent_space=LatentSpace(clip=clip, image_low=0.0).to_json(),
    )  # fmt: skip
    diffusion = DiffusionConfig(prediction=prediction, guidance_scale=2.5)  # type: ignore[arg-type]
    config = TrainConfig(model=SMALL, diffusion=diffusion)
    return Run(folder=Path("/runs/ärzte"), checkpoint=Path("/x"), config=config, state=state)


def code_of(guide: str) -> str:
    (code,) = guide.split("```python\n")[1:]
    return code.split("```")[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Tumör", "two\nlines; import os", '"quoted"', "\\", "x\r\ny"])
def test_the_code_parses_whatever_a_class_is_called(kind: str | None, name: str) -> None:
    tree = ast.parse(code_of(write_guide(run("a", "b", name), kind)))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"json", "torch"}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert ("vae" in used) == (kind is not None)


def test_words_are_those_of_the_run() -> None:
    guide = write_guide(run("Unknown", "Tumör", "Fat"), "AutoencoderKL")
    for said in (
        "# ärzte: images of tissue for masks",
        "after 12,345 training steps",
        "Masks hold classes: 0 Unknown, 1 Tumör, 2 Fat.",
        "predicted latents are clipped to +-4 in each step",
        "Guidance is null + 2.5 (conditional - null)",
        "the same as a mask of class 0 only",
        "range from 0 to 1",
        "diffusers: `AutoencoderKL`",
        "mask[:, :, 32:] = 2  # the lower half is Fat",
    ):
        assert said in guide
    assert "not clipped" in write_guide(run("a", clip=None), None)
    assert "There is no autoencoder" in write_guide(run("a"), None)


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("epsilon", "the noise."),
        ("v", "v = signal noise - noise_level x0, diffusers' `v_prediction`."),
        ("x0", "the latents without noise, diffusers' `sample`."),
        ("flow", "the noise minus the latents without it, as rectified flows do."),
    ],
)
def test_the_prediction_is_explained(prediction: str, said: str) -> None:
    assert f"- It predicts {said}\n" in write_guide(run("a", prediction=prediction), "linear")
