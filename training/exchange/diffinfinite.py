"""Published checkpoints of DiffInfinite's trainer: read without running code, and recognised by tensor shapes.

A file of `torch.save` holds `step`, `model`, `ema` and more. In `model` the names of the U-Net's tensors start
with `model.`, in `ema` those of its average with `ema_model.model.`. Both also hold the noise schedule's buffers.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import torch

from histods.errors import HistodsError
from training.config.setting import one_of
from training.diffusion.process import NOISE_SCHEDULES, NoiseSchedule, recognise_schedule
from training.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from histods.records import Progress
    from training.config.model import ModelConfig
    from training.runs.checkpoint import Weights

_PLACES: dict[Weights, tuple[str, str]] = {"ema": ("ema", "ema_model.model."), "model": ("model", "model.")}
_CHUNK = 1 << 20
_NAMED, _COMPARED = 3, 60  # names in a message; names compared to find the nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """The parts of a published checkpoint that are needed to make a network.

    Attributes:
        path: the path of the file.
        step: optimizer steps done; 0 if unknown.
        weights: the U-Net's tensors by their names in the network: of `ema`, `model` or both.
        betas_T: float64 [T], the noise schedule, or None.
    """

    path: Path
    step: int
    weights: dict[Weights, dict[str, Tensor]]
    betas_T: Tensor | None


def read_published(path: Path, progress: Progress) -> Published:
    """Read a checkpoint without running any code in it; every byte is verified against the file's own checksums.

    Args:
        path: a file of `torch.save`.
        progress: called with the number of bytes verified and the total.

    Raises:
        HistodsError: the file does not exist, is damaged, or holds something else.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise HistodsError(f"{path} {found}; give the .pt file of a checkpoint.")
    archive = zipfile.is_zipfile(path)
    if archive:  # torch reads archives but ignores their checksums
        _prove(path, progress)
    document = _load(path, mapped=archive)
    if not isinstance(document, dict):
        raise HistodsError(
            f"{path} holds {_kind(document)}, not the entries 'model' and 'ema'; give a checkpoint of "
            "DiffInfinite's trainer."
        )
    weights = {
        which: _of_network(document[entry], prefix)
        for which, (entry, prefix) in _PLACES.items()
        if isinstance(document.get(entry), dict)
    }
    step = document.get("step", 0)
    return Published(
        path=path,
        step=int(step) if isinstance(step, int | float | torch.Tensor) else 0,
        weights={which: tensors for which, tensors in weights.items() if tensors},
        betas_T=_find_betas(document),
    )


def _prove(path: Path, progress: Progress) -> None:
    """Read all members of an archive to verify their checksums."""
    done, total = 0, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while chunk := file.read(_CHUNK):
                        done += len(chunk)
                        progress("proving bytes", done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise _damaged(path, error) from error


def _load(path: Path, *, mapped: bool) -> Any:
    """Load tensors and plain values; with `mapped`, only what is accessed is read into memory."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or hostile file can fail in any way
        refused = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        if refused is None and not zipfile.is_zipfile(path):  # torch's own message is about its options then
            raise _damaged(path, ValueError("bytes of another kind, or of a part of it")) from error
        if refused is None:
            raise _damaged(path, error) from error
        raise HistodsError(
            f"{path} holds more than tensors and plain values: {refused[1]}, with which a file could run code; "
            "have its author save 'model' and 'ema' alone."
        ) from error


def _damaged(path: Path, error: Exception) -> HistodsError:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(".")
    return HistodsError(f"{path} is not a complete checkpoint of torch.save ({reason}); download it again.")


def _kind(value: object) -> str:
    return "tensors" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _of_network(tensors: Mapping[Any, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by their names without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(tensor, torch.Tensor)
    }


def _find_betas(document: Mapping[str, Any]) -> Tensor | None:
    for entry, name in (("model", "betas"), ("ema", "ema_model.betas")):
        tensors = document.get(entry)
        betas = tensors.get(name) if isinstance(tensors, dict) else None
        if isinstance(betas, torch.Tensor) and betas.ndim == 1:
            return betas.double()
    return None


def find_schedule(published: Published) -> dict[str, Any]:
    """The settings of `diffusion` that follow from the betas of a checkpoint; empty if it has none.

    Raises:
        HistodsError: histods does not have this schedule.
    """
    betas_T = published.betas_T
    if betas_T is None:
        return {}
    name = recognise_schedule(betas_T)
    if name is None:
        known = (name for name, schedule in NOISE_SCHEDULES.items() if isinstance(schedule, NoiseSchedule))
        raise HistodsError(
            f"{published.path} has a noise schedule that is not {one_of(known)} (its betas go from "
            f"{betas_T[0]:.3g} to {betas_T[-1]:.3g}); histods has no sampler for it."
        )
    return {"timesteps": len(betas_T), "schedule": name}


def find_shape(weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The settings of `model` that follow from the shapes of weights.

    Raises:
        HistodsError: the shapes are not those of such a network.
    """
    levels = 1
    while f"downs.{levels}.3.weight" in weights:
        levels += 1
    downs = [f"downs.{level}.3.weight" for level in range(levels)]
    ranks = {"init_conv.weight": 4, "classes_emb.weight": 2, **dict.fromkeys(downs, 4)}
    missing = [name for name in ranks if name not in weights]
    wrong = [
        f"{name} {list(weights[name].shape)}"
        for name, rank in ranks.items()
        if name in weights and (weights[name].ndim != rank or not weights[name].numel())
    ]
    if missing or wrong:
        unexpected = sorted(weights.keys() - ranks.keys()) if missing else []
        raise _strange(f"{path} does not hold a U-Net of DiffInfinite", missing, unexpected, wrong)
    dim, channels = weights["init_conv.weight"].shape[:2]
    return {
        "dim": dim,
        "channels": channels,
        "num_classes": len(weights["classes_emb.weight"]),
        "dim_mults": tuple(len(weights[name]) // dim for name in downs),
    }


def check_weights(weights: Mapping[str, Tensor], model: ModelConfig, path: Path) -> dict[str, Tensor]:
    """The weights in float32, in the order of the network; its names and theirs must be the same.

    Raises:
        HistodsError: names or shapes are not those of the network, or a weight is not finite.
    """
    with torch.device("meta"):
        wanted = {name: list(tensor.shape) for name, tensor in UNet(model).state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in weights.items()}
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [
        f"{name} {found[name]} instead of {shape}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    if missing or unexpected or wrong:
        problem = (
            f"{path} does not hold the {len(wanted)} weights of a U-Net of dim {model.dim}, "
            f"dim_mults {list(model.dim_mults)} and {model.num_classes} classes"
        )
        raise _strange(problem, missing, unexpected, wrong)
    odd = [name for name in wanted if not _is_plain(weights[name])]
    if odd:
        raise HistodsError(
            f"{path} has weights that are not all finite numbers ({_names(odd)}); such a network "
            "makes no images: use another checkpoint."
        )
    return {name: weights[name].float() for name in wanted}


def _is_plain(tensor: Tensor) -> bool:
    plain = tensor.is_floating_point() and tensor.layout == torch.strided
    return plain and bool(torch.isfinite(tensor).all())


def _strange(problem: str, missing: list[str], unexpected: list[str], wrong: list[str]) -> HistodsError:
    """The error for weights that do not fit; the most similar of the missing and extra names come first."""
    parts = [
        f"{len(missing)} missing ({_names(_nearest_first(missing, unexpected))})" if missing else "",
        f"{len(unexpected)} extra ({_names(_nearest_first(unexpected, missing))})" if unexpected else "",
        f"{len(wrong)} of other shapes ({_names(wrong)})" if wrong else "",
    ]
    found = " and ".join(part for part in parts if part)
    return HistodsError(f"{problem}: {found}; give a checkpoint of that network.")


def _nearest_first(names: list[str], others: list[str]) -> list[str]:
    def likeness(name: str) -> float:
        return max((SequenceMatcher(None, name, other).ratio() for other in others[:_COMPARED]), default=0.0)

    return sorted(names[:_COMPARED], key=likeness, reverse=True) + names[_COMPARED:]


def _names(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
