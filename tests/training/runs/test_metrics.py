"""Metrics: no line twice after a kill, no torn line read, and TensorBoard only where it is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.runs.metrics import Metrics, read_metrics

if TYPE_CHECKING:
    from pathlib import Path

ABSENT = ("tensorboard", "torch.utils.tensorboard")


@pytest.fixture
def _no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)


def train_line(step: int) -> dict[str, Any]:
    return {"kind": "train", "step": step, "loss": step / 3, "rate": 1e-4, "gradient_norm": None}


def validation_line(step: int) -> dict[str, Any]:
    return {"kind": "validation", "step": step, "split": "täst\u2028", "model": 0.5, "ema": None}


def write(folder: Path, step: int, lines: list[dict[str, Any]]) -> None:
    with Metrics(folder, step) as metrics:
        metrics.write(lines)


@pytest.mark.usefixtures("_no_board")
@given(st.integers(0, 12), st.integers(0, 12))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_that_goes_on_has_every_step_once(tmp_path: Path, killed: int, step: int) -> None:
    step = min(step, killed)
    lines = [line for number in range(1, 13) for line in (train_line(number), validation_line(number))]
    write(tmp_path, 0, lines[: 2 * killed])
    write(tmp_path, step, lines[2 * step :])
    assert read_metrics(tmp_path) == lines


@pytest.mark.usefixtures("_no_board")
def test_a_new_run_begins_with_no_lines(tmp_path: Path) -> None:
    write(tmp_path, 0, [train_line(1)])
    with Metrics(tmp_path, 0):
        assert read_metrics(tmp_path) == []
    assert read_metrics(tmp_path / "nowhere") == []


@pytest.mark.usefixtures("_no_board")
def test_a_line_that_is_torn_anywhere_is_dropped_and_cut_when_the_run_goes_on(tmp_path: Path) -> None:
    lines = [train_line(1), validation_line(1), train_line(2)]
    write(tmp_path, 0, lines)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert read_metrics(tmp_path) == lines[:2]
    path.write_bytes(whole[:-1])  # all but its end of line: it says everything
    assert read_metrics(tmp_path) == lines
    path.write_bytes(whole + b"\0\0\0")
    write(tmp_path, 2, [train_line(3)])
    assert [json.loads(text) for text in path.read_text().splitlines()] == [*lines, train_line(3)]


@pytest.mark.usefixtures("_no_board")
def test_lines_are_there_before_the_run_ends(tmp_path: Path) -> None:
    with Metrics(tmp_path, 0) as metrics:
        metrics.write([train_line(1), train_line(2)])
        assert read_metrics(tmp_path) == [train_line(1), train_line(2)]
        metrics.write([validation_line(2)])
        assert read_metrics(tmp_path)[-1] == validation_line(2)
    assert not (tmp_path / "tensorboard").exists()


class Board:
    """Stands for TensorBoard's writer."""

    made: list[Board]

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.pictures: list[tuple[str, tuple[int, ...], int, str]] = []
        self.closed = False
        Board.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars.append((tag, value, step))

    def add_image(self, tag: str, picture: np.ndarray[Any, Any], step: int, dataformats: str) -> None:
        self.pictures.append((tag, picture.shape, step, dataformats))

    def close(self) -> None:
        self.closed = True


def test_tensorboard_gets_the_same_numbers_and_forgets_later_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Board  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Board.made = []
    write(tmp_path, 0, [train_line(1), train_line(2) | {"skipped": 0}])
    write(tmp_path, 1, [validation_line(2)])
    first, second = Board.made
    assert first.scalars == [
        ("loss/train", 1 / 3, 1),
        ("learning rate", 1e-4, 1),
        ("loss/train", 2 / 3, 2),
        ("learning rate", 1e-4, 2),
        ("skipped steps", 0, 2),
    ]
    assert second.scalars == [("loss/validation model", 0.5, 2)]
    assert (first.purge_step, second.purge_step) == (None, 2)
    assert (first.closed, second.closed) == (True, True)
    assert first.folder == str(tmp_path / "tensorboard")


def test_tensorboard_shows_previews_speed_and_losses_by_noise_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Board  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Board.made = []
    buckets = {"ema_buckets": [0.5, None, *[0.25] * 8]}
    with Metrics(tmp_path, 0) as metrics:
        metrics.write([train_line(1) | {"timing": {"images_per_second": 9.5}}, validation_line(1) | buckets])
        metrics.show(np.zeros((40, 80, 3), np.uint8), 1)
    (board,) = Board.made
    assert ("images per second", 9.5, 1) in board.scalars
    levels = [(tag, value) for tag, value, _ in board.scalars if tag.startswith("loss at noise levels/")]
    assert levels[:2] == [
        ("loss at noise levels/00-10 percent", 0.5),
        ("loss at noise levels/20-30 percent", 0.25),
    ]
    assert [tag for tag, _ in levels] == sorted(tag for tag, _ in levels)
    assert board.pictures == [("preview", (40, 80, 3), 1, "HWC")]


def test_the_real_tensorboard_writes_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write(tmp_path, 0, [train_line(1), validation_line(1)])
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss/train" in events.read_bytes()
    assert b"loss/validation model" in events.read_bytes()
