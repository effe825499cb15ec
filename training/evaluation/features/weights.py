"""Weights: read from files as nothing but tensors, and their digest."""

from __future__ import annotations

import hashlib
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from histods.errors import HistodsError
from training.hub import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

NOT_TENSORS = "damaged, or not tensors alone"
"""Why a file is refused that PyTorch could read only by running code in it."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a safetensors file, or of one that PyTorch wrote; code in it is never run.

    Raises:
        HistodsError: it is damaged, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, UnpicklingError, SafetensorError) as error:
        reason = one_line(error) if isinstance(error, OSError | SafetensorError) else NOT_TENSORS
        raise HistodsError(f"The weights in {path} cannot be read ({reason}); download them again.") from error
    if not isinstance(found, dict) or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise HistodsError(f"{path} holds {type(found).__name__}, not weights by name; give a state dictionary.")
    return found


def weights_digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a text and of tensors by name, independent of the files that they came from."""
    digest = hashlib.sha256(about.encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
