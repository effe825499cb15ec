"""What runs say of themselves, whoever wrote their files: figures where they are sound, None elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from histods.io.run_files import RunSummary, list_runs
from histods.io.workspace import Workspace


def write_run(
    workspace: Path, *, config: str = "run: {steps: 9}", metrics: str = "", name: str = "default"
) -> Path:
    """A run's folder with its settings and metrics."""
    folder = workspace / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text(metrics)
    return folder


def only_run(workspace: Path) -> RunSummary:
    (run,) = list_runs(Workspace(workspace))
    return run


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_runs_are_listed_by_name_and_folders_without_settings_are_none(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_run(tmp_path, name=name)
    (tmp_path / "runs" / "c").mkdir()
    assert [run.run for run in list_runs(Workspace(tmp_path))] == ["a", "b"]


def test_a_workspace_without_runs_has_none(tmp_path: Path) -> None:
    assert list_runs(Workspace(tmp_path)) == []


def test_settings_have_whole_names_and_old_ones_are_renamed(tmp_path: Path) -> None:
    write_run(
        tmp_path, config="run: {steps: 9, most_skipped: 3}\ndiffusion: {lr: 0.1}\nmodel: {dim_mults: [1, 2]}"
    )
    assert only_run(tmp_path).settings == {
        "run.steps": 9, "run.max_skipped": 3, "optimizer.lr": 0.1, "model.dim_mults": [1, 2],
    }  # fmt: skip
    assert only_run(tmp_path).steps == 9


def test_the_loss_is_the_mean_of_the_last_hundred_steps(tmp_path: Path) -> None:
    write_run(tmp_path, metrics=lines(*({"kind": "train", "loss": loss} for loss in [1e6] * 5 + [1, 3] * 50)))
    assert only_run(tmp_path).loss == 2


def test_the_best_is_the_lowest_validation_and_the_first_of_equal_ones(tmp_path: Path) -> None:
    found = [(0.5, 1), (0.25, 2), (0.25, 3), (0.75, 4)]
    write_run(tmp_path, metrics=lines(*({"kind": "validation", "ema": ema, "step": step} for ema, step in found)))
    run = only_run(tmp_path)
    assert (run.best, run.best_step) == (0.25, 2)


def test_the_speed_is_the_last_one_that_is_told(tmp_path: Path) -> None:
    timings: list[object] = [{"images_per_second": 5}, {"images_per_second": 7.5}, {"images_per_second": "x"}, 3]
    write_run(tmp_path, metrics=lines(*({"kind": "train", "timing": timing} for timing in timings)))
    assert only_run(tmp_path).images_per_second == 7.5


def test_the_step_is_that_of_the_newest_checkpoint(tmp_path: Path) -> None:
    checkpoint = write_run(tmp_path) / "checkpoints" / "step-00000007"
    checkpoint.mkdir(parents=True)
    assert only_run(tmp_path).step is None
    (checkpoint.parent / "latest").write_text("step-00000007\n")
    assert only_run(tmp_path).step is None
    (checkpoint / "state.json").write_text('{"step": 7}')
    assert only_run(tmp_path).step == 7


def test_a_line_that_a_killed_run_left_half_is_dropped(tmp_path: Path) -> None:
    write_run(tmp_path, metrics=lines({"kind": "train", "loss": 2}) + '{"kind": "train", "lo')
    assert only_run(tmp_path).loss == 2


@pytest.mark.parametrize(
    "loss",
    ["NaN", "Infinity", "true", '"1"', "[1]", "null", "1" + "0" * 400, "-1" + "0" * 400],
    ids=lambda text: text[:9],
)
def test_what_is_no_number_counts_for_nothing(tmp_path: Path, loss: str) -> None:
    row = f'{{"kind": "train", "loss": {loss}}}\n{{"kind": "validation", "ema": {loss}, "step": 4}}\n'
    write_run(tmp_path, metrics=lines({"kind": "train", "loss": 2}) + row)
    run = only_run(tmp_path)
    assert (run.loss, run.best) == (2, None)


@pytest.mark.parametrize(
    "metrics", ["[" * 100_000, "3\n[]\nnull\n", "\0", "{}\n"], ids=["deep", "others", "zero", "empty"]
)
def test_metrics_that_are_none_leave_the_figures_open(tmp_path: Path, metrics: str) -> None:
    write_run(tmp_path, metrics=metrics)
    assert only_run(tmp_path) == RunSummary(run="default", steps=9, settings={"run.steps": 9})


@pytest.mark.parametrize(
    "config", ["", "[", "{a: &a {b: *a}}", "[" * 5000, "!!python/object:os.system {}", "2024-13-45", "\0"],
    ids=["empty", "half", "circle", "deep", "tag", "date", "zero"],
)  # fmt: skip
def test_settings_that_cannot_be_read_leave_the_run_in_the_list(tmp_path: Path, config: str) -> None:
    write_run(tmp_path, config=config)
    run = only_run(tmp_path)
    assert (run.run, run.steps) == ("default", None)


def test_files_that_are_not_utf_8_leave_the_figures_open(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    for name in ("config.yaml", "metrics.jsonl"):
        (folder / name).write_bytes(b"\xff\xfe")
    assert only_run(tmp_path) == RunSummary(run="default")


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "checkpoints/latest"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path)
    (folder / "checkpoints").mkdir()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert only_run(tmp_path).run == "default"
