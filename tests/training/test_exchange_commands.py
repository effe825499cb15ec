"""histods import and histods export: one call each, one document or one line, from a checkpoint to a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import histods
from tests.training.published import published, write
from training.autoencoders.linear import LinearAutoencoder

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("command", ["import", "export"])
def test_they_help_with_an_example(command: str) -> None:
    result = histods(command, "--help")
    assert result.returncode == 0
    assert f"Example: histods {command}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_checkpoint_becomes_a_run_and_the_run_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "model-12.pt", published())
    imported = histods("import", "model-12.pt", "--out", "histods-out/runs/theirs", "--json", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    document = json.loads(imported.stdout)
    assert (document["step"], document["classes"]) == (12_000, ["class 0", "class 1", "class 2"])
    assert document["parameters"] > 10_000
    assert document["config"]["diffusion"]["prediction"] == "epsilon"
    assert "Images need the autoencoder" in imported.stderr
    exported = histods("export", "--run", "theirs", "--json", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    document = json.loads(exported.stdout)
    assert document["parts"] == {
        "scheduler": "diffusers: DDIMScheduler",
        "unet": "histods: training.model.unet.UNet",
    }
    assert (tmp_path / document["folder"] / "README.md").is_file()
    assert "Export of theirs, step 12,000 (ema)" in exported.stderr


def test_an_imported_run_is_sampled_as_the_reference_does(tmp_path: Path) -> None:
    write(tmp_path / "model-12.pt", published())
    LinearAutoencoder.fit([torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)]).save(tmp_path / "vae")
    imported = histods("import", "model-12.pt", "--out", "theirs", "--autoencoder", "vae", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert "Next: histods sample --run theirs" in " ".join(imported.stdout.split())
    mask = np.zeros((32, 32), np.uint8)
    mask[16:] = 2
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = ["--masks", "mask.png", "--reference", "--steps", "2", "--out", "images"]
    sampled = histods("sample", "--run", "theirs", *options, cwd=tmp_path)
    assert sampled.returncode == 0, sampled.stderr
    assert np.asarray(Image.open(tmp_path / "images" / "mask.png")).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["import", "nothing.pt", "--out", "run"], "histods: nothing.pt does not exist; give the .pt file "),
        (["import", "nothing.pt"], "histods: Missing option '--out' "),
        (
            ["export", "--run", "nowhere"],
            "histods: There is no run nowhere, as a folder or in ",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], line: str) -> None:
    result = histods(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
