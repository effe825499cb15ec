"""The companion trainer: it reads shards, and starts with torch, numpy, pyarrow, safetensors and PyYAML alone.

Its verbs are imported when first used, so that worker processes stay small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.runs.checkpoint import load_model
    from training.verbs.sample import sample
    from training.verbs.train import train

__all__ = ["load_model", "sample", "train"]

_HOMES = {
    "load_model": "training.runs.checkpoint",
    "sample": "training.verbs.sample",
    "train": "training.verbs.train",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
