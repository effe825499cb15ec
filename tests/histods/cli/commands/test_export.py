"""`histods export`: a run becomes a folder for others, by one command after `histods import`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.commands import histods
from tests.training.published import published, write

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_run_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = histods("export", "--run", "nowhere", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("histods: There is no run nowhere, as a folder or in ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
