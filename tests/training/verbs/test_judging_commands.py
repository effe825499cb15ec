"""`evaluate` and `tune` after SIGKILL: the same command goes on, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("monai")

from tests.commands import histods
from tests.forked import complete
from tests.training.killed import kill_before, written
from tests.training.mask_runs import train_masks
from tests.training.trained_runs import ENVIRONMENT
from tests.training.tuned_runs import TUNE, make_spoilt

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = ("evaluations", "tunings", "generated_masks", "runs/default/sampling.json")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images that tuning makes better, and one of masks."""
    made = make_spoilt(tmp_path_factory.mktemp("killed"))
    train_masks(made, "run.steps=1", "run.checkpoint_every=1")
    return made


@pytest.mark.parametrize(
    ("words", "moments"),
    [
        pytest.param(
            ["evaluate", "--count", 12, "--steps", 1, "--segmenter-steps", 2],
            ["images/*.png", "features/*/part-00000.safetensors", "evaluation.json"],
            id="evaluate a run",
        ),
        pytest.param(
            ["evaluate", "--run", "masks", "--count", 4],
            ["generated_00002.png", "masks.json"],
            id="evaluate a run of masks",
        ),
        pytest.param(
            ["tune", *TUNE],
            ["trials/*/part-*.safetensors", "sampling.json"],
            id="tune",
        ),
    ],
)
def test_after_kills_the_same_command_ends_with_the_same_bytes(
    workspace: Path, tmp_path: Path, words: list[object], moments: list[str]
) -> None:
    """It is killed when a file is written, but does not have its name yet; the next call continues there."""
    given = [*words, "-w", workspace, "--device", "cpu"]
    for moment in moments:
        kill_before(moment, given, tmp_path / "reached")
    complete([sys.executable, "-m", "histods", *given], env=ENVIRONMENT)
    resumed = _results(workspace)
    _remove_results(workspace)
    undisturbed = histods(*given)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert _results(workspace) == resumed
    _remove_results(workspace)


def _results(workspace: Path) -> dict[str, bytes]:
    return written([workspace / name for name in RESULTS])


def _remove_results(workspace: Path) -> None:
    for name in RESULTS:
        path = workspace / name
        path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)
