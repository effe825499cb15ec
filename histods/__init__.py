"""histods: audit, remap and prepare histology patch datasets for training generative models.

Each verb is a function with the options of the command of the same name. They are imported when first
used, so that `import histods` costs nothing and worker processes stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.lazy import lazy_exports
from histods.version import __version__ as __version__

if TYPE_CHECKING:
    from histods.dataset.manifest import Manifest
    from histods.demo_pipeline import demo
    from histods.steps.audit import audit
    from histods.steps.describe import describe
    from histods.steps.export_data import export_data
    from histods.steps.fix import fix
    from histods.steps.import_data import import_data
    from histods.steps.remap import remap
    from histods.steps.repair import repair
    from histods.steps.shard import shard
    from histods.steps.show import show
    from histods.steps.split import split
    from histods.steps.status import status
    from histods.steps.tile import tile
    from reports.charts import plot
    from reports.page.write import report
    from training.exchange.export_diffusers import export
    from training.exchange.import_diffinfinite import import_checkpoint
    from training.verbs.encode import encode
    from training.verbs.sample import sample
    from training.verbs.train import train

__all__ = [
    "HistodsError",
    "Manifest",
    "audit",
    "demo",
    "describe",
    "encode",
    "export",
    "export_data",
    "fix",
    "import_checkpoint",
    "import_data",
    "plot",
    "remap",
    "repair",
    "report",
    "sample",
    "shard",
    "show",
    "split",
    "status",
    "tile",
    "train",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Manifest": "histods.dataset.manifest",
        "audit": "histods.steps.audit",
        "demo": "histods.demo_pipeline",
        "describe": "histods.steps.describe",
        "encode": "training.verbs.encode",
        "export": "training.exchange.export_diffusers",
        "export_data": "histods.steps.export_data",
        "fix": "histods.steps.fix",
        "import_data": "histods.steps.import_data",
        "import_checkpoint": "training.exchange.import_diffinfinite",
        "plot": "reports.charts",
        "report": "reports.page.write",
        "remap": "histods.steps.remap",
        "repair": "histods.steps.repair",
        "sample": "training.verbs.sample",
        "shard": "histods.steps.shard",
        "show": "histods.steps.show",
        "split": "histods.steps.split",
        "status": "histods.steps.status",
        "tile": "histods.steps.tile",
        "train": "training.verbs.train",
    },
)
