"""Whether a run may go on when it is called again, and with which settings."""

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
"""Times the learning rate of the step before that is said: schedules change it less from one step to the next."""


def load_resume_state(folder: Path, config: TrainConfig, *, resume: bool) -> State | None:
    """Where the run stands, None for a new one. Nothing is written, so that a call that fails changes no run.

    Raises:
        HistodsError: the settings are others, or there is nothing to resume.
    """
    checkpoint = newest(folder)
    if checkpoint is None and resume:
        raise HistodsError(f"There is no checkpoint to go on from in {folder}; leave --resume out.")
    if checkpoint is not None and (other := _other_meanings(checkpoint, config)):
        raise HistodsError(
            f"The weights in {folder} were trained with other settings, which give them another meaning: {other}. "
            "Leave these out to go on, or choose another --name."
        )
    if checkpoint is not None and not resume and (other := _differences(folder, config)):
        raise HistodsError(
            f"{folder} began with other settings ({other}); add --resume to go on with those of now, "
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
            f"{folder} was imported, without an optimizer to go on with: start a new run from its weights with "
            f"'histods train --init {shlex.quote(str(folder))} --name NEW'."
        )


def check_alike(folder: Path, state: State | None, process: Process) -> None:
    """Refuse to go on where processes see different checkpoints.

    Raises:
        HistodsError: they do.
    """
    if not process.all_equal(-1 if state is None else state.step):
        raise HistodsError(
            f"The {process.world_size} processes see different checkpoints in {folder} ({process.place}: "
            f"{'none' if state is None else f'step {state.step:,}'}): put the workspace where all machines see it."
        )


def say_leap(folder: Path, config: TrainConfig) -> Iterator[str]:
    """Where the learning rate of a run leaps when it goes on: other steps move OneCycle, other rates move all."""
    checkpoint = newest(folder)
    if checkpoint is None or not (step := read_state(checkpoint).step):
        return
    before = read_settings(checkpoint)
    old = rate_at(step - 1, before.run.steps, before.optimizer.lr, before.optimizer)
    new = rate_at(step, config.run.steps, config.optimizer.lr, config.optimizer)
    if not old / _LEAP < new < old * _LEAP:
        why = "see run.steps and optimizer.lr"
        yield f"The learning rate leaps from {old:.2g} to {new:.2g} at step {step:,}: {why}."


def settings_of(folder: Path, process: Process) -> dict[str, dict[str, Any]]:
    """All settings of a run that began, by section; compiled only where this machine can."""
    settings = asdict(read_config(folder / "config.yaml"))
    settings["run"]["compile"] &= can_compile(process.device)
    return settings


def kept_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Settings that stay as a run began, though new runs have others: it may be of a version without them."""
    if not (folder / "config.yaml").is_file():
        return {}
    return {"diffusion": {"min_v_weight": read_config(folder / "config.yaml").diffusion.min_v_weight}}


def _differences(folder: Path, config: TrainConfig) -> str:
    """In which settings a configuration differs from the one in a run's folder, in words; empty where in none."""
    before, now = flatten(read_config(folder / "config.yaml")), flatten(config)
    return _in_words({key: (before[key], now[key]) for key in before if before[key] != now[key]})


def _in_words(changed: dict[str, tuple[Any, Any]]) -> str:
    """Settings with their values before and now; of many the first three."""
    words = [f"{key}: {before} before, {now} now" for key, (before, now) in changed.items()]
    return "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")


def _other_meanings(checkpoint: Path, config: TrainConfig) -> str:
    """Which settings give a checkpoint's weights another meaning, in words; empty where none does."""
    before, now = flatten(read_settings(checkpoint)), flatten(config)
    return _in_words({key: (before[key], now[key]) for key in sorted(MEANING) if before[key] != now[key]})
