"""Boards: the real ones, on disk, get the numbers and pictures of a run, and the same run when it resumes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from histods.errors import HistodsError, MissingExtraError
from histods.io.workspace import read_json
from training.config.load import read_config
from training.config.sections import BoardName
from training.runs.boards import BOARDS, open_boards
from training.runs.metrics import Metrics, read_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETTINGS = {"model.dim": 8, "data.splits": ("train",), "diffusion.min_snr_gamma": None}
LINES: list[dict[str, Any]] = [
    {"kind": "train", "step": step, "loss": 1 / step, "timing": {"images_per_second": 9.5}} for step in (1, 2)
]
LATER: list[dict[str, Any]] = [
    {"kind": "validation", "step": 3, "split": "val", "model": 0.5, "ema": 0.25, "ema_buckets": [0.1] * 10}
]


def watch(folder: Path, board: str) -> None:
    """A run that is watched, is killed after two steps, and goes on."""
    with Metrics(folder, 0, [board], SETTINGS) as metrics:
        metrics.write(LINES)
        metrics.show(np.full((4, 6, 3), 200, np.uint8), 2)
    with Metrics(folder, 2, [board], SETTINGS) as metrics:
        metrics.write(LATER)


def test_mlflow_has_one_run_with_settings_numbers_and_previews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'store'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    watch(tmp_path / "first", "mlflow")
    watch(tmp_path / "second", "mlflow")
    client = mlflow.MlflowClient()
    home = client.get_experiment_by_name("histods").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([home])}
    assert runs.keys() == {"first", "second"}
    run = runs["first"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {key: str(value) for key, value in SETTINGS.items()}
    number = run.info.run_id
    assert [(one.step, one.value) for one in client.get_metric_history(number, "loss/train")] == [(1, 1), (2, 0.5)]
    assert run.data.metrics["loss/validation ema"] == 0.25
    assert run.data.metrics["loss at noise levels/00-10 percent"] == 0.1
    assert [file.path for file in client.list_artifacts(number, "preview")] == ["preview/step-00000002.png"]


def _missing(names: Sequence[bytes], parts: Sequence[Path]) -> list[bytes]:
    """What is not in the files of a run, yet: names of numbers, and the picture of the first part."""
    written = b"".join(file.read_bytes() for part in parts for file in part.rglob("*.wandb"))
    pictures = [file.suffix for file in parts[0].rglob("*preview*") if file.is_file()]
    return [*(name for name in names if name not in written), *([] if pictures == [".png"] else [b"a picture"])]


def test_weights_and_biases_has_one_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    watch(tmp_path, "wandb")
    number = read_json(tmp_path / "boards.json")["wandb"]
    parts = sorted((tmp_path / "wandb").glob("offline-run-*"))
    # offline-run-TIME-NUMBER; with -1 behind it for a second one of the same second
    assert [part.name.split("-")[3] for part in parts] == [number, number]
    names = (b"loss/train", b"images per second", b"loss/validation ema", b"preview", b"model.dim")
    until = time.monotonic() + 300
    while missing := _missing(names, parts):  # the process of Weights & Biases outlives the run
        assert time.monotonic() < until, missing
        time.sleep(0.05)


@pytest.mark.parametrize("board", ["wandb", "mlflow"])
def test_a_board_that_is_not_installed_is_said_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str
) -> None:
    monkeypatch.setitem(sys.modules, board, None)
    with pytest.raises(MissingExtraError, match=rf'run "pip install histods\[{board}\]"'):
        open_boards([board], tmp_path, {}, 0)


def lose(store: Path) -> None:
    """Put a file in the place of a folder into which another thread may be writing."""
    for number in range(100):
        store.rename(store.with_name(f"lost-{number}"))
        try:
            store.touch(exist_ok=False)
        except FileExistsError:  # the thread has just made it again
            continue
        return
    raise AssertionError("the folder is always made again")


def test_a_board_that_fails_later_is_said_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    store = tmp_path / "store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{store}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    said: list[str] = []
    with Metrics(tmp_path / "run", 0, ["tensorboard", "mlflow"], SETTINGS, said.append) as metrics:
        metrics.write(LINES[:1])
        lose(store)
        metrics.write(LINES[1:])
        metrics.write(LATER)
    assert len(said) == 1
    assert said[0].startswith("MLflow failed (")
    assert said[0].endswith("; the run continues without it.")
    assert read_metrics(tmp_path / "run") == [*LINES, *LATER]
    assert any((tmp_path / "run" / "tensorboard").iterdir())


def test_an_unknown_board_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(HistodsError, match=f"a list of names from {', '.join(BOARDS)}"):
        read_config(None, ["run.boards=[tensorbord]"])
    assert read_config(None, ["run.boards=[]"]).run.boards == ()


def test_every_board_is_a_name_that_the_configuration_takes() -> None:
    assert set(BOARDS) == set(get_args(BoardName))
