"""Ends of a run that are not its last step: nothing that was computed is lost, and one line says why."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import training.__main__
import training.data.dataset
import training.runs.checkpoint_writer
import training.runs.metrics
import training.trainer.loop
import training.trainer.preview
from histods.cli.commands.train import show_train, train_document
from histods.cli.console import make_console
from histods.errors import HistodsError
from histods.sampling.draws import BalancedDraws
from tests.training.trained_runs import command, run_tiny, start, wait_until, weights
from tests.watchdog import finish
from training.runs.checkpoint import read_run, save_checkpoint
from training.runs.metrics import read_metrics
from training.verbs.train import train

if TYPE_CHECKING:
    from typing import Any

    from histods.records import Progress
    from training.runs.checkpoint import State

RARELY = ("run.steps=12", "run.checkpoint_every=1000", "run.log_every=2")


def lines(run: Path) -> list[Any]:
    """The metrics of a run, without what depends on the machine's speed and on how often it was logged."""
    return [(line["kind"], line["step"], line.get("loss"), line.get("ema")) for line in read_metrics(run)]


def test_a_signal_to_all_processes_of_a_run_loses_nothing(folder: Path, tmp_path: Path) -> None:
    words = command(tmp_path, folder, "run.steps=100000", "run.checkpoint_every=100000", "data.workers=2")
    process = start(words, start_new_session=True)
    run = tmp_path / "runs" / "default"
    wait_until(lambda: read_metrics(run), process)
    os.killpg(process.pid, signal.SIGTERM)
    errors = finish(process)
    assert (process.returncode, errors.splitlines()[-1]) == (
        143,
        "terminated; run the same command again to continue",
    ), errors
    assert read_run(run).step > 0


def break_data(monkeypatch: pytest.MonkeyPatch, position: int, error: Exception) -> None:
    """Let samples that are drawn for training fail from a position on."""
    decode = training.data.dataset.ShardDataset.decode

    def broken(self: training.data.dataset.ShardDataset, positions: Any, memory: Any = None) -> Any:
        if isinstance(self.draws, BalancedDraws) and max(positions) >= position:
            raise error
        return decode(self, positions, memory)

    monkeypatch.setattr(training.data.dataset.ShardDataset, "decode", broken)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_damaged_data_cost_no_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    settings = (*RARELY, f"run.accumulate={accumulate}")
    whole = run_tiny(tmp_path / "a", folder, *settings)
    with monkeypatch.context() as patch:
        break_data(patch, 31, HistodsError("damaged"))  # the last of a step, in its second half
        with pytest.raises(HistodsError, match="^damaged$"):
            run_tiny(tmp_path / "b", folder, *settings)
    again = run_tiny(tmp_path / "b", folder, *settings)
    assert again.began == 7
    assert weights(again.folder, 12) == weights(whole.folder, 12)
    assert lines(again.folder) == lines(whole.folder)


def test_metrics_that_cannot_be_written_cost_no_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        write = training.runs.metrics.Metrics.write

        def broken(self: training.runs.metrics.Metrics, lines: list[dict[str, Any]]) -> None:
            if lines[-1]["step"] == 6:
                raise OSError(28, "No space left on device")
            write(self, lines)

        patch.setattr(training.runs.metrics.Metrics, "write", broken)
        with pytest.raises(HistodsError, match="runs/default could not be written: .*No space left"):
            run_tiny(tmp_path, folder, *RARELY)
    assert run_tiny(tmp_path, folder, *RARELY).began == 6


def test_too_little_memory_is_said_with_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_data(monkeypatch, 8, MemoryError())
    with pytest.raises(HistodsError, match="too little memory for a step .* lower data.batch_size"):
        run_tiny(tmp_path, folder, *RARELY)


def test_what_a_kill_after_the_last_checkpoint_kept_from_being_made_is_made(folder: Path, tmp_path: Path) -> None:
    settings = ("run.steps=4", "run.validate_every=2", "run.preview_every=2", "run.preview_steps=2")
    whole = run_tiny(tmp_path, folder, *settings).folder
    before, picture = lines(whole), (whole / "samples" / "step-00000004.png").read_bytes()
    shutil.rmtree(whole / "samples")
    kept = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    (whole / "metrics.jsonl").write_text("".join(kept[:-1]))
    again = run_tiny(tmp_path, folder, *settings)
    assert (again.began, again.step) == (4, 4)
    assert lines(whole) == before
    assert (whole / "samples" / "step-00000004.png").read_bytes() == picture


def test_no_line_is_missing_where_a_kill_comes_after_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[int, list[int]] = {}
    save = save_checkpoint

    def watched(run: Path, state: State, *rest: Any, **named: Any) -> Path:
        written[state.step] = [line["step"] for line in read_metrics(run)]
        return save(run, state, *rest, **named)

    monkeypatch.setattr(training.runs.checkpoint_writer, "save_checkpoint", watched)
    run_tiny(tmp_path, folder, "run.steps=6", "run.log_every=4", "run.checkpoint_every=3")
    assert written == {3: [1, 2, 3], 6: [1, 2, 3, 4, 5, 6]}


def test_training_works_in_a_thread(folder: Path, tmp_path: Path) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(run_tiny(tmp_path, folder, "run.steps=2").step))
    thread.start()
    thread.join(timeout=100)
    assert done == [2]


def test_a_machine_without_pillow_trains_without_previews_and_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.trainer.preview, "find_spec", lambda _: None)
    said: list[str] = []
    settings = ["model.dim=8", "model.dim_mults=[1]", "run.steps=1", "run.preview_every=1", "run.validate_every=0"]
    settings += ["data.batch_size=2", "data.workers=0"]
    assert train(workspace=tmp_path, data=folder, settings=settings, device="cpu", say=said.append).finished
    assert "No previews are drawn, since Pillow is not installed." in said


def test_an_error_that_one_process_alone_finds_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*, progress: Progress, **_: object) -> None:
        progress("training", 0, 10)
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(training.__main__, "train", broken)
    monkeypatch.setattr(sys, "argv", ["training"])
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert training.__main__.main() == 2
    said = capsys.readouterr().err
    place = f"process 3 on {platform.node()}"
    assert said.startswith(f"{place}: Internal error, RuntimeError: two lines; ")
    assert said.count("\n") == 1


def test_a_loss_that_is_not_finite_and_an_infinite_setting_are_shown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=1", "optimizer.clip_norm=.inf")
    show_train(make_console(quiet=False), replace(result, losses=((1, None),)))
    assert "not finite" in capsys.readouterr().err
    json.dumps(train_document(result), allow_nan=False)
