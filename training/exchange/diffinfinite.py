"""Checkpoints as DiffInfinite's trainer publishes them: read without running anything, and understood by shapes.

A file of `torch.save` holds `step`, `model`, `ema` and more. In `model` the names of the U-Net start with
`model.`, in `ema` those of its average with `ema_model.model.`; beside them are the noise schedule's buffers.
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
from training.diffusion.process import NOISE_SCHEDULES, recognise_schedule
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
_NAMED, _COMPARED = 3, 60  # names in a message; names among which the nearest are looked for


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What a published checkpoint holds, as far as a network is made of it.

    Attributes:
        path: the path of the file.
        step: optimizer steps done; 0 where that is not said.
        weights: the U-Net's tensors by its own names: of `ema` and `model`, or of the one that is there.
        betas_T: float64 [T], the noise schedule; None where it is not there.
    """

    path: Path
    step: int
    weights: dict[Weights, dict[str, Tensor]]
    betas_T: Tensor | None


def read_published(path: Path, progress: Progress) -> Published:
    """Read a checkpoint. Nothing in it is run, and every byte is proved by the checksums that it carries.

    Args:
        path: file of `torch.save`.
        progress: called with bytes proved and bytes in all.

    Raises:
        HistodsError: there is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise HistodsError(f"{path} {found}; give the .pt file of a checkpoint.")
    archive = zipfile.is_zipfile(path)
    if archive:  # torch reads archives, but leaves their checksums aside
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
    """Read all members of an archive, which compares their checksums."""
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
    """Tensors and plain values; only what is looked at is brought into memory where the file is mapped."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or hostile file can fail in any way
        refused = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        if refused is None and not zipfile.is_zipfile(path):  # torch's own words are of its options then
            raise _damaged(path, ValueError("bytes of another kind, or of a part of it")) from error
        if refused is None:
            raise _damaged(path, error) from error
        raise HistodsError(
            f"{path} holds more than tensors and plain values: {refused[1]}, with which a file could run code; "
            "have its author save 'model' and 'ema' alone."
        ) from error


def _damaged(path: Path, error: Exception) -> HistodsError:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(".")
    return HistodsError(f"{path} is not a whole checkpoint of torch.save ({reason}); fetch it again.")


def _kind(value: object) -> str:
    return "tensors" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _of_network(tensors: Mapping[Any, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
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
    """Settings of `diffusion` that the betas of a checkpoint mean; none where it has no betas.

    Raises:
        HistodsError: histods has no such schedule.
    """
    betas_T = published.betas_T
    if betas_T is None:
        return {}
    name = recognise_schedule(betas_T)
    if name is None:
        raise HistodsError(
            f"{published.path} has a noise schedule that is not {one_of(NOISE_SCHEDULES)} (its betas go from "
            f"{betas_T[0]:.3g} to {betas_T[-1]:.3g}); no sampler here would be right for it."
        )
    return {"timesteps": len(betas_T), "schedule": name}


def find_shape(weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Settings of `model` that the shapes of weights mean.

    Raises:
        HistodsError: they are not those of such a network.
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
    """The weights in float32, in the order of the network, which has exactly these.

    Raises:
        HistodsError: names or shapes are not those of the network, or a number is not finite.
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
            "makes no images: take another checkpoint."
        )
    return {name: weights[name].float() for name in wanted}


def _is_plain(tensor: Tensor) -> bool:
    plain = tensor.is_floating_point() and tensor.layout == torch.strided
    return plain and bool(torch.isfinite(tensor).all())


def _strange(problem: str, missing: list[str], unexpected: list[str], wrong: list[str]) -> HistodsError:
    """What does not fit; of names that are missing and others that are there, the nearest come first."""
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
