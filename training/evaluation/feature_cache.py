"""Features of a set of images, computed in parts that are kept, so that a killed evaluation goes on.

Shapes: N images, D features, B images of a batch, H and W pixels.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from histods.errors import HistodsError
from histods.io.atomic import make_folders, replacing
from training.evaluation.image_sets import stacked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.records import Progress
    from training.evaluation.features.base import FeatureExtractor
    from training.evaluation.image_sets import ImageSet

PART = 512
"""Images per file."""
_NAME, _DIGEST = "features", "sha256"


def features_of(
    images: ImageSet,
    extract: FeatureExtractor,
    folder: Path,
    *,
    batch: int,
    stage: str,
    progress: Progress,
) -> NDArray[np.float64]:
    """The features of all images of a set, [N, D]; parts that were computed before are read.

    Args:
        images: the images, all of one size.
        extract: computes the features.
        folder: folder of the features of all sets; this one's are in a folder named by its digest.
        batch: images at once.
        stage: what to call this in the progress.
        progress: called with the stage, the images done, and all.

    Raises:
        HistodsError: an image has another size than the first, or features that are no numbers.
    """
    digest = hashlib.sha256(f"{images.digest} {extract.digest}".encode()).hexdigest()
    place = folder / digest[:32]
    parts = []
    shape = images.image(0).shape
    for first in range(0, len(images), PART):
        progress(stage, first, len(images))
        wanted = range(first, min(first + PART, len(images)))
        path = place / f"part-{first // PART:05d}.safetensors"
        part_ND = _read(path, (len(wanted), extract.width))
        if part_ND is None:
            part_ND = np.concatenate(
                [
                    extract(stacked(images, wanted[start : start + batch], shape))
                    for start in range(0, len(wanted), batch)
                ]
            ).astype(np.float32)
            _check(part_ND, images.keys[first : first + PART], extract.name)
            make_folders(place)
            with replacing(path) as temporary:
                save_file({_NAME: np.ascontiguousarray(part_ND)}, temporary, {_DIGEST: _digest(part_ND)})
        parts.append(part_ND)
    progress(stage, len(images), len(images))
    return np.concatenate(parts).astype(np.float64)


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The features of a part as kept; None if there are none, or others than these."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            written, kept = (file.metadata() or {}).get(_DIGEST), file.get_tensor(_NAME)
    except (SafetensorError, OSError):
        return None
    fits = kept.shape == shape and kept.dtype == np.float32 and _digest(kept) == written
    return kept if fits else None


def _digest(part_ND: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(part_ND).tobytes()).hexdigest()


def _check(part_ND: NDArray[np.float32], keys: Sequence[str], name: str) -> None:
    """Reject features that are no numbers."""
    wrong = np.flatnonzero(~np.isfinite(part_ND).all(axis=1))
    if len(wrong):
        raise HistodsError(
            f"The features '{name}' of {keys[wrong[0]]} are NaN or infinite; look at that image, or choose other "
            "features with --features."
        )
