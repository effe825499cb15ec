"""Where a run stands: whether it may go on when it is called again, with which settings, and what is still due."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from training.checkpoint import newest, read_state
from training.config import read_config
from training.device import can_compile
from training.metrics import read_metrics
from training.preview import Preview

if TYPE_CHECKING:
    from pathlib import Path

    from training.checkpoint import State
    from training.config import RunConfig, TrainConfig
    from training.device import Process


def find_state(folder: Path, config: TrainConfig, process: Process, *, resume: bool) -> State | None:
    """Where the run stands, None for a new one. Nothing is written, so that a call that fails changes no run.

    Raises:
        HistodsError: the settings are others, there is nothing to resume, or processes see different folders.
    """
    checkpoint = newest(folder)
    if checkpoint is None and resume:
        raise HistodsError(f"Expected a checkpoint to go on from in {folder}, found none; leave --resume out.")
    if checkpoint is not None and not resume and (other := _differences(folder, config)):
        raise HistodsError(
            f"Expected the settings with which {folder} began, found others ({other}); add --resume to go on with "
            "them, or choose another --name."
        )
    if checkpoint is not None:
        before, now = read_config(folder / "config.yaml").latents.space, config.latents.space
        if before != now:  # the weights have learnt what they were shown
            raise HistodsError(
                f"Expected latents.space={before}, with which {folder} began, found {now}; leave that setting "
                "out, or choose another --name."
            )
    state = None if checkpoint is None else read_state(checkpoint)
    if not process.alike(-1 if state is None else state.step):
        raise HistodsError(
            f"Expected the same checkpoint in {folder} for all {process.ranks} processes, found different ones; "
            "put the workspace where all machines see it."
        )
    return state


def settings_of(folder: Path, process: Process) -> dict[str, dict[str, Any]]:
    """All settings of a run that began, by section; compiled only where this machine can."""
    settings = asdict(read_config(folder / "config.yaml"))
    settings["run"]["compile"] &= can_compile(process.device)
    return settings


def owed_at(folder: Path, run: RunConfig, step: int, *, last: bool) -> set[str]:
    """Which of `validation` and `preview` are due after a step, and not done."""
    due = {
        kind
        for kind, every in (("validation", run.validate_every), ("preview", run.preview_every))
        if every > 0 and (last or step % every == 0)
    }
    if "preview" in due and Preview.path(folder, step).is_file():
        due.remove("preview")
    if "validation" in due and any(
        line["kind"] == "validation" and line["step"] == step for line in read_metrics(folder)
    ):
        due.remove("validation")
    return due


def _differences(folder: Path, config: TrainConfig) -> str:
    """In which settings a configuration differs from the one in a run's folder, in words; empty where in none."""
    before, now = _flat(read_config(folder / "config.yaml")), _flat(config)
    changed = [f"{key}: {before[key]} before, {now[key]} now" for key in before if before[key] != now[key]]
    return "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")


def _flat(config: TrainConfig) -> dict[str, Any]:
    return {
        f"{section}.{key}": value for section, values in asdict(config).items() for key, value in values.items()
    }
