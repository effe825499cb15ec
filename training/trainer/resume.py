"""Whether a run may resume when it is called again, and with which settings."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from training.config.load import read_config
from training.config.sections import MEANING, flatten
from training.distributed import can_compile
from training.runs.checkpoint import newest, read_settings, read_state
from training.trainer.lr_schedule import rate_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from training.config.sections import TrainConfig
    from training.distributed import Process
    from training.runs.checkpoint import State

_LEAP = 1.5
"""Ratio of the learning rate to that of the previous step at which to warn; schedules change it less."""


def load_resume_state(folder: Path, config: TrainConfig, *, resume: bool) -> State | None:
    """Read the state of the run; None for a new one. Nothing is written, so a call that fails changes no run.

    Raises:
        HistodsError: the settings differ, or there is nothing to resume.
    """
    checkpoint = newest(folder)
    if checkpoint is None and resume:
        raise HistodsError(f"There is no checkpoint to resume from in {folder}; omit --resume.")
    if checkpoint is not None and (other := _other_meanings(checkpoint, config)):
        raise HistodsError(
            f"The weights in {folder} were trained with other settings, which give them another meaning: {other}. "
            "Omit these to resume, or choose another --name."
        )
    if checkpoint is not None and config.ema.snapshots_every and not read_settings(checkpoint).ema.snapshots_every:
        raise HistodsError(
            f"ema.snapshots_every cannot be set in {folder}, which began without: its averages would lack the "
            "weights of the first steps; choose another --name."
        )
    if checkpoint is not None and not resume and (other := _differences(folder, config)):
        raise HistodsError(
            f"{folder} began with other settings ({other}); add --resume to use the new ones, "
            "or choose another --name."
        )
    return None if checkpoint is None else read_state(checkpoint)


def refuse_imported(folder: Path) -> None:
    """Refuse to resume an imported run, which has no optimizer state.

    Raises:
        HistodsError: the run was imported.
    """
    checkpoint = newest(folder)
    if checkpoint is not None and not read_state(checkpoint).index_digest:
        raise HistodsError(
            f"{folder} was imported and has no optimizer state to resume: start a new run from its weights with "
            f"'histods train --init {shlex.quote(str(folder))} --name NEW'."
        )


def check_alike(folder: Path, state: State | None, process: Process) -> None:
    """Refuse to resume if processes see different checkpoints.

    Raises:
        HistodsError: they do.
    """
    if not process.all_equal(-1 if state is None else state.step):
        raise HistodsError(
            f"The {process.world_size} processes see different checkpoints in {folder} ({process.place}: "
            f"{'none' if state is None else f'step {state.step:,}'}): put the workspace where all machines see it."
        )


def say_leap(folder: Path, config: TrainConfig) -> Iterator[str]:
    """Warn if the learning rate of a resumed run jumps, because of another number of steps or another rate."""
    checkpoint = newest(folder)
    if checkpoint is None or not (step := read_state(checkpoint).step):
        return
    before = read_settings(checkpoint)
    old = rate_at(step - 1, before.run.steps, before.optimizer.lr, before.optimizer)
    new = rate_at(step, config.run.steps, config.optimizer.lr, config.optimizer)
    if not old / _LEAP < new < old * _LEAP:
        why = "see run.steps and optimizer.lr"
        yield f"The learning rate jumps from {old:.2g} to {new:.2g} at step {step:,}: {why}."


def settings_of(folder: Path, process: Process) -> dict[str, dict[str, Any]]:
    """All settings of an existing run, by section; `compile` only if this machine supports it."""
    settings = asdict(read_config(folder / "config.yaml"))
    settings["run"]["compile"] &= can_compile(process.device)
    return settings


def kept_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Settings that a run keeps although new runs have other defaults; its version may not have had them."""
    if not (folder / "config.yaml").is_file():
        return {}
    config = read_config(folder / "config.yaml")
    return {
        "diffusion": {"min_v_weight": config.diffusion.min_v_weight},
        "model": {"spatial": config.model.spatial},
    }


def _differences(folder: Path, config: TrainConfig) -> str:
    """Describe the settings that differ from those in a run's folder; empty if none do."""
    before, now = flatten(read_config(folder / "config.yaml")), flatten(config)
    return _in_words({key: (before[key], now[key]) for key in before if before[key] != now[key]})


def _in_words(changed: dict[str, tuple[Any, Any]]) -> str:
    """Describe changed settings, with values before and now; at most three are listed."""
    words = [f"{key}: {before} before, {now} now" for key, (before, now) in changed.items()]
    return "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")


def _other_meanings(checkpoint: Path, config: TrainConfig) -> str:
    """Describe the settings that would change the meaning of a checkpoint's weights; empty if none would."""
    before, now = flatten(read_settings(checkpoint)), flatten(config)
    return _in_words({key: (before[key], now[key]) for key in sorted(MEANING) if before[key] != now[key]})
