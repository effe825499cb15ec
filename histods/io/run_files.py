"""Settings and metrics of training runs, read without the trainer's libraries."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from histods.io.workspace import Workspace

RENAMED_SETTINGS = {
    "diffusion.batch_size": "data.batch_size",
    "diffusion.lr": "optimizer.lr",
    "run.most_skipped": "run.max_skipped",
}
"""Names of settings in version 0.1 and in DiffInfinite's files, which are still read."""
_LAST = 100
"""Steps over which the training loss is averaged."""
_LARGEST = 1e300
"""A sum of so many losses is still a number."""
_MAX_DEPTH = 32
_UNREADABLE = (OSError, ValueError, RecursionError, HistodsError)
"""What reading a file of an unknown source may end in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """Progress and results of a training run; None for unknown values.

    Attributes:
        run: its name.
        step: optimizer steps of its newest checkpoint.
        steps: the configured number of steps.
        loss: mean training loss of its last 100 steps.
        best: lowest validation loss of the averaged weights.
        best_step: the step of that loss.
        images_per_second: speed at the end of the last call.
        index_digest: digest of the index of the shards or latents that it was trained on.
        map_digest: digest of the label map of these.
        settings: all settings, by `section.key`.
    """

    run: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    best: float | None = None
    best_step: int | None = None
    images_per_second: float | None = None
    index_digest: str | None = None
    map_digest: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def makes_masks(self) -> bool:
        """Whether it makes masks instead of images."""
        return self.settings.get("data.what") == "masks"


def list_runs(space: Workspace) -> list[RunSummary]:
    """The runs of a workspace by name; damaged values are None."""
    return [summarise_run(config.parent) for config in sorted(space.runs.glob("*/config.yaml"))]


def summarise_run(folder: Path) -> RunSummary:
    """The run in a folder; damaged and missing values are None."""
    settings, state = _read_settings(folder), _read_state(folder)
    lines = list(_read_lines(folder / "metrics.jsonl"))
    losses = [line["loss"] for line in lines if line.get("kind") == "train" and is_number(line.get("loss"))]
    validated = [
        (line["ema"], line["step"])
        for line in lines
        if line.get("kind") == "validation" and is_number(line.get("ema")) and is_number(line.get("step"))
    ]
    speeds = [line["timing"].get("images_per_second") for line in lines if isinstance(line.get("timing"), dict)]
    best, best_step = min(validated, default=(None, None))
    return RunSummary(
        run=folder.name,
        step=_integer(state.get("step")),
        steps=_integer(settings.get("run.steps")),
        loss=math.fsum(losses[-_LAST:]) / len(losses[-_LAST:]) if losses else None,
        best=best,
        best_step=best_step,
        images_per_second=next((speed for speed in reversed(speeds) if is_number(speed)), None),
        index_digest=_text(state.get("index_digest")),
        map_digest=_text(state.get("map_digest")),
        settings=settings,
    )


def _read_settings(folder: Path) -> dict[str, Any]:
    """Settings by `section.key`; none where the file is damaged, or no run has written it."""
    try:
        text = _read_text(folder / "config.yaml")
        if not _is_plain(text):
            return {}
        return {RENAMED_SETTINGS.get(key, key): value for key, value in _flatten(yaml.safe_load(text))}
    except (*_UNREADABLE, yaml.YAMLError):
        return {}


def _is_plain(text: str) -> bool:
    """Whether YAML has no aliases, which may lead in a circle, and few levels."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_DEPTH:
            return False
    return True


def _read_text(path: Path) -> str:
    refuse_pipe(path)
    return path.read_text(encoding="utf-8")


def _flatten(settings: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by `section.key`."""
    if not isinstance(settings, dict):
        yield above, settings
        return
    for name, value in settings.items():
        yield from _flatten(value, f"{above}.{name}" if above else str(name))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of metrics; a killed run leaves at most an incomplete line."""
    try:
        texts = _read_text(path).splitlines()
    except _UNREADABLE:
        return
    for text in texts:
        try:
            line = json.loads(text)
        except _UNREADABLE:
            return
        if isinstance(line, dict):
            yield line


def _read_state(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint says of itself; nothing if there is none."""
    try:
        newest = _read_text(folder / "checkpoints" / "latest").strip()
        return read_json(folder / "checkpoints" / newest / "state.json")
    except _UNREADABLE:
        return {}


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and is_number(value) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def is_number(value: object) -> bool:
    """Whether a value of a file is a finite number of a size that sums of many still are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
