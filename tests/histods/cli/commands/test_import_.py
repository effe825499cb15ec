"""`histods import`: a checkpoint becomes a run to sample from, or one line says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import histods
from tests.training.published import published, write
from training.autoencoders.linear import LinearAutoencoder

if TYPE_CHECKING:
    from pathlib import Path


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
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], line: str) -> None:
    result = histods(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
