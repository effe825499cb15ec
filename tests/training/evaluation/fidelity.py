"""The formulas and the network of torch-fidelity, without the datasets for which it needs torchvision.

No torchvision fits the CPU build of torch that tests run with. The modules of the formulas need none, but
importing them imports the others, too. So while they are imported, empty modules stand in for torchvision; nothing
here calls what would use them, and they are removed again.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

_STANDINS = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")


@cache
def formulas(name: str) -> Any:
    """The module `metric_fid`, `metric_kid`, `metric_prc` or `feature_extractor_inceptionv3`."""
    standins = {part: ModuleType(part) for part in _STANDINS}
    for part, module in standins.items():
        parent, _, own = part.rpartition(".")
        if parent:
            setattr(standins[parent], own, module)
    for dataset in ("CIFAR10", "STL10", "CIFAR100"):
        setattr(standins["torchvision.datasets"], dataset, type(dataset, (), {}))
    before = {part: sys.modules.get(part) for part in _STANDINS}
    sys.modules.update(standins)
    try:
        return importlib.import_module(f"torch_fidelity.{name}")
    finally:
        for part, own_module in before.items():
            if own_module is None:
                del sys.modules[part]
            else:
                sys.modules[part] = own_module
