"""Images of which a part is kept: found by the names of masks, checked, and joined with what was made.

Shapes: B images, H and W pixels.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from histods.errors import HistodsError, StaleFileError, UnreadableFileError
from histods.images.formats import image_suffixes
from training.data.dataset import reduce_image
from training.inference.mask_inputs import MASK_ENDING, find_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.inference.mask_inputs import MaskFile


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Images of one size, and where they are to change.

    Attributes:
        images_BHW3: uint8.
        change_BHW: true where new pixels are wanted.
    """

    images_BHW3: NDArray[np.uint8]
    change_BHW: NDArray[np.bool_]


class KeptImages:
    """The images of masks, and their regions to change; all are read once to be checked.

    Args:
        keep: a folder of images with the names of the masks, or the image of a single mask.
        change: a folder of masks with these names, or one mask: 0 keeps a pixel, and all other values change it.
        masks: the masks of classes.
        reduce: factor by which images and masks are reduced, as in training.

    Attributes:
        digest: SHA-256 of the names and the contents of all files.

    Raises:
        HistodsError: a file is missing, damaged, or of another size than its mask.
    """

    def __init__(self, keep: Path, change: Path, masks: Sequence[MaskFile], *, reduce: int = 1) -> None:
        self._reduce = reduce
        names = [mask.name for mask in masks]
        self._images = _match(names, keep, _find_images(keep), "--keep")
        self._changes = _match(names, change, dict(find_masks(change)[0]), "--change")
        self._digests = {}
        for mask in masks:
            kept, self._digests[mask.name] = self._read(mask.name)
            if kept.images_BHW3.shape[1:3] != (mask.height, mask.width):
                raise _wrong_size(self._images[mask.name], kept.images_BHW3, mask, reduce)
            if kept.change_BHW.shape[1:] != (mask.height, mask.width):
                raise _wrong_size(self._changes[mask.name], kept.change_BHW, mask, reduce)
        self.digest = hashlib.sha256(repr(sorted(self._digests.items())).encode()).hexdigest()

    def read(self, names: Sequence[str]) -> Kept:
        """Read the images of masks of one size again.

        Raises:
            StaleFileError: a file has changed since it was checked.
        """
        found = []
        for name in names:
            kept, digest = self._read(name)
            if digest != self._digests[name]:
                raise StaleFileError(
                    f"{self._images[name]} or {self._changes[name]} has changed since it was checked; run the "
                    "same command again."
                )
            found.append(kept)
        return Kept(
            np.concatenate([kept.images_BHW3 for kept in found]),
            np.concatenate([kept.change_BHW for kept in found]),
        )

    def _read(self, name: str) -> tuple[Kept, str]:
        from histods.images.reader import decode_mask, decode_rgb

        path = self._images[name]
        try:
            content = path.read_bytes()
            image = decode_rgb(content)
            path = self._changes[name]
            region = path.read_bytes()
            change = decode_mask(region).labels != 0
        except (UnreadableFileError, OSError) as error:
            raise HistodsError(f"{path} cannot be read: {error}; correct it or remove it.") from error
        if self._reduce > 1:
            image = reduce_image(image, self._reduce)
            height, width = (side // self._reduce for side in change.shape)
            whole = change[: height * self._reduce, : width * self._reduce]
            change = whole.reshape(height, self._reduce, width, self._reduce).any(axis=(1, 3))
        digest = hashlib.sha256(content).hexdigest() + hashlib.sha256(region).hexdigest()
        return Kept(image[None], change[None]), digest


def _find_images(folder: Path) -> dict[str, Path]:
    """The images in a folder, at any depth, by path without suffix; files whose names end in `_mask` are none."""
    found = {}
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(home, name) for name in sorted(files) if not name.startswith(".")):
            if path.suffix.lower() in image_suffixes() and not path.stem.endswith(MASK_ENDING):
                found[path.relative_to(folder).with_suffix("").as_posix()] = path
    return found


def _match(names: Sequence[str], place: Path, found: dict[str, Path], option: str) -> dict[str, Path]:
    """The file of each mask; a single file is that of the only mask.

    Raises:
        HistodsError: a mask has none.
    """
    if place.is_file() and len(names) == 1:
        return {names[0]: place}
    missing = [name for name in names if name not in found]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise HistodsError(
            f"{option} {place} has no file for the mask {missing[0]}{more}; give a folder with files named "
            "like the masks, without '_mask'."
        )
    return {name: found[name] for name in names}


def _wrong_size(path: Path, found_BHW: NDArray[np.generic], mask: MaskFile, reduce: int) -> HistodsError:
    height, width = found_BHW.shape[1:3]
    return HistodsError(
        f"{path} is {width * reduce}x{height * reduce} px, but its mask {mask.path} is "
        f"{mask.width * reduce}x{mask.height * reduce}; cut both to one size."
    )


def join(made_BHW3: NDArray[np.uint8], kept: Kept, radius: int) -> NDArray[np.uint8]:
    """New pixels in the region to change, and the old ones, unchanged, elsewhere.

    The network's pixels differ from the old ones by a slight shift in tone, since an autoencoder is not exact.
    Inside the region, new pixels therefore get the mean difference of the kept pixels within `radius`, which fades
    out towards the inside: no old content shows through, and the border is not a step.

    Args:
        made_BHW3: images from the network.
        kept: the old ones, and where they change.
        radius: pixels from the border within which tones are adapted.
    """
    if kept.change_BHW.all():
        return made_BHW3
    keep_B1HW = torch.from_numpy(~kept.change_BHW)[:, None].float()
    made_B3HW = torch.from_numpy(made_BHW3).permute(0, 3, 1, 2).float()
    gap_B3HW = (torch.from_numpy(kept.images_BHW3).permute(0, 3, 1, 2) - made_B3HW) * keep_B1HW
    window = 2 * radius + 1
    share_B1HW = avg_pool2d(keep_B1HW, window, 1, radius)
    mean_B3HW = avg_pool2d(gap_B3HW, window, 1, radius) / share_B1HW.clamp_min(1 / window**2)
    smooth_B3HW = made_B3HW + mean_B3HW * (2 * share_B1HW).clamp_max(1)  # at a straight border, half is kept
    pixels = smooth_B3HW.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return np.where(kept.change_BHW[..., None], pixels, kept.images_BHW3)
