"""Several processes: whatever keeps one from training, all end soon, and each says why in one line."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from histods.errors import HistodsError
from tests.training.trained_runs import command, run_tiny, start_together
from tests.watchdog import finish
from training.distributed import Process, computes_in_bf16, processes

if TYPE_CHECKING:
    from pathlib import Path


def run_both(*calls: list[str]) -> list[tuple[int | None, str]]:
    """Exit status and errors of processes that are started as those of several machines are."""
    started = start_together(*calls)
    errors = [finish(process) for process in started]
    return [(process.returncode, text) for process, text in zip(started, errors, strict=True)]


def last_lines(results: list[tuple[int | None, str]]) -> list[str]:
    assert [status for status, _ in results] == [2, 2], results
    assert "Traceback" not in "".join(text for _, text in results)
    return [text.splitlines()[-1] for _, text in results]


@pytest.mark.slow
def test_data_that_one_machine_lacks_end_both_with_a_line_each(folder: Path, tmp_path: Path) -> None:
    here, away = command(tmp_path, folder, "run.steps=2"), command(tmp_path, tmp_path / "away", "run.steps=2")
    first, second = last_lines(run_both(here, away))
    why = f"There are no shards and no latents in {tmp_path / 'away'}"
    assert second.startswith(f"process 1 on {platform.node()}: {why}")
    assert first.startswith(
        f"process 0 on {platform.node()}: Stopped, since process 1 of 2 on {platform.node()}: {why}"
    )


@pytest.mark.slow
def test_machines_that_see_other_checkpoints_say_which(folder: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path / "a", folder, "run.steps=2")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "runs" / "default" / "checkpoints")
    calls = [command(tmp_path / place, folder, "run.steps=2") for place in "ab"]
    first, second = last_lines(run_both(*calls))
    assert "The 2 processes see different checkpoints" in first
    assert "(process 0 of 2" in first
    assert "step 2): put the workspace where all machines see it." in first
    assert "none): put the workspace where all machines see it." in second


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two in the environment is not a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "x"}, "RANK=x in the environment is not a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 is not a valid rank among WORLD_SIZE=2 processes"),
        ({"WORLD_SIZE": "0"}, "RANK=0 is not a valid rank among WORLD_SIZE=0 processes"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "Process 0 of 2 on .* found no others .*MASTER_"),
    ],
)
def test_a_wrong_environment_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HistodsError, match=said) as caught, processes("cpu"):
        pass
    assert "\n" not in str(caught.value)


def test_one_process_goes_on_by_itself() -> None:
    process = Process(device=torch.device("cpu"))
    with process.together():
        pass
    with pytest.raises(ZeroDivisionError), process.together():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("capability", "computes"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_gpus_before_ampere_do_not_compute_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], computes: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert computes_in_bf16(torch.device("cuda", 0)) is computes
    assert not computes_in_bf16(torch.device("cpu"))
