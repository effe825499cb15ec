"""A run that guides another one: what both must have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from histods.errors import HistodsError
from tests.training.verbs.test_sample import halves, make_run, pixels, write_mask
from training.runs.checkpoint import read_run, write_run
from training.verbs.guide_run import read_guide
from training.verbs.sample import sample

if TYPE_CHECKING:
    from pathlib import Path


def test_an_earlier_checkpoint_guides_and_is_recorded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "default")
    make_run(run, step=9)
    mask = write_mask(tmp_path / "x.png", halves(1, 2))
    options: dict[str, Any] = {"masks": mask, "workspace": tmp_path, "steps": 3, "guidance": 2.0}
    earlier = run / "checkpoints" / "step-00000005"
    found = sample(guide=earlier, **options)
    recipe = json.loads(found.record.read_text())["recipe"]
    assert (recipe["step"], recipe["guide"]["step"]) == (9, 5)
    assert recipe["guide"]["weights_digest"] != recipe["weights_digest"]
    plain = sample(**options)
    assert not np.array_equal(pixels(found.folder / "x.png"), pixels(plain.folder / "x.png"))
    assert "guide" not in json.loads(plain.record.read_text())["recipe"]


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (
            "diffusion",
            {"schedule": "linear"},
            "differs from .* in diffusion.schedule \\(linear instead of cosine\\)",
        ),
        ("diffusion", {"timesteps": 500}, "in diffusion.timesteps"),
        ("diffusion", {"prediction": "epsilon"}, "predicts epsilon, which says nothing about v"),
        ("data", {"reduce": 2}, "in data.reduce"),
        ("model", {"image_size": 64}, "in the size of images"),
    ],
)
def test_a_run_of_another_kind_is_refused_in_one_line(
    tmp_path: Path, section: str, values: dict[str, Any], said: str
) -> None:
    run = read_run(make_run(tmp_path / "run"))
    other = make_run(tmp_path / "other")
    write_run(other, replace(run.config, **{section: replace(getattr(run.config, section), **values)}))
    with pytest.raises(HistodsError, match=said) as caught:
        read_guide(other, tmp_path, run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("classes", ["Unknown", "Tumour", "Fat"], "in the classes"),
        ("latent_space", {"mean": [0.2] * 4}, "in the latent space"),
        ("autoencoder", {"digest": "5" * 64}, "in the autoencoder"),
    ],
)
def test_a_run_with_another_state_is_refused(tmp_path: Path, entry: str, value: Any, said: str) -> None:
    run = read_run(make_run(tmp_path / "run"))
    other = make_run(tmp_path / "other")
    path = other / "checkpoints" / "step-00000005" / "state.json"
    state = json.loads(path.read_text())
    state[entry] = state[entry] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(state))
    with pytest.raises(HistodsError, match=said):
        read_guide(other, tmp_path, run)


def test_a_guide_that_predicts_x0_guides_a_network_that_predicts_v(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", step=6)
    config = read_run(other).config
    write_run(other, replace(config, diffusion=replace(config.diffusion, prediction="x0")))
    mask = write_mask(tmp_path / "x.png", halves(1, 2, 64))  # in windows
    found = sample(run=run, guide=other, masks=mask, workspace=tmp_path, steps=2, guidance=1.5)
    assert found.written == 1
