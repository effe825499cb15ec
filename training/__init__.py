"""The companion trainer: it reads shards and needs only torch, numpy, pyarrow, safetensors and PyYAML.

Its verbs are imported on first use, which keeps worker processes small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.lazy import lazy_exports

if TYPE_CHECKING:
    from training.runs.checkpoint import load_model
    from training.verbs.evaluate import evaluate
    from training.verbs.evaluate_masks import evaluate_masks
    from training.verbs.sample import sample
    from training.verbs.train import train
    from training.verbs.tune import tune

__all__ = ["evaluate", "evaluate_masks", "load_model", "sample", "train", "tune"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "evaluate": "training.verbs.evaluate",
        "evaluate_masks": "training.verbs.evaluate_masks",
        "load_model": "training.runs.checkpoint",
        "sample": "training.verbs.sample",
        "train": "training.verbs.train",
        "tune": "training.verbs.tune",
    },
)
