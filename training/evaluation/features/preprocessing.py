"""How an encoder wants its images: resized, cropped, scaled and normalised as its own configuration says.

Images are resized by Pillow, as when such encoders are trained and compared: other libraries' filters give other
pixels, and thereby other features (Parmar et al. 2022, arXiv 2104.11222).

Shapes: B images, H and W pixels of the given ones, h and w of those for the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from histods.errors import HistodsError
from histods.io.workspace import read_json
from training.evaluation.images import as_images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    Size = tuple[int, int]

FILE = "preprocessor_config.json"
_FILTERS = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # Pillow's numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """What is done to images before an encoder has them.

    Attributes:
        size: height and width to resize to; one number is the length of the shorter side; None keeps the size.
        resample: Pillow's number of the filter.
        crop: height and width to crop from the centre; None keeps all.
        scale: factor of pixels.
        mean: of each colour, subtracted after scaling.
        std: of each colour, divided by.
    """

    size: Size | int | None
    resample: int
    crop: Size | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, folder: Path, name: str) -> Preprocessing:
        """Read `preprocessor_config.json` of transformers.

        Raises:
            HistodsError: there is none, or it does not say what is needed.
        """
        if not (folder / FILE).is_file():
            raise HistodsError(
                f"{name} has no {FILE}, which says the size and colours that the encoder needs; download it, too."
            )
        document = read_json(folder / FILE)
        try:
            return _parse(document)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise HistodsError(
                f"{folder / FILE} does not describe the images of an encoder ({reason}); download it again."
            ) from error

    @classmethod
    def of_timm(cls, config: dict[str, Any]) -> Preprocessing:
        """That of `pretrained_cfg` in timm's `config.json`.

        Raises:
            KeyError: something is missing.
        """
        height, width = config["input_size"][1:]
        return cls(
            size=int(min(height, width) / config.get("crop_pct", 1.0)),
            resample=_FILTERS[config["interpolation"]],
            crop=(height, width),
            scale=1 / 255,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> Tensor:
        """Images float32 [B, 3, h, w] for the encoder, of uint8 images [B, H, W, 3].

        Raises:
            HistodsError: they are not uint8 images in RGB.
        """
        images = as_images(images_BHW3).cpu().numpy()
        pixels = np.stack([self._crop(self._resize(image)) for image in images])
        x_BHW3 = torch.from_numpy(pixels).float() * self.scale
        x_BHW3 = (x_BHW3 - torch.tensor(self.mean)) / torch.tensor(self.std)
        return x_BHW3.permute(0, 3, 1, 2).contiguous()

    def _resize(self, image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from PIL import Image

        if self.size is None:
            return image_HW3
        height, width = image_HW3.shape[:2]
        if isinstance(self.size, int):
            short = min(height, width)
            target = (int(self.size * height / short), int(self.size * width / short))
        else:
            target = self.size
        resized = Image.fromarray(image_HW3).resize(target[::-1], Image.Resampling(self.resample))
        return np.asarray(resized)

    def _crop(self, image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.crop is None:
            return image_HW3
        top, left = ((side - cut) // 2 for side, cut in zip(image_HW3.shape, self.crop, strict=False))
        return image_HW3[top : top + self.crop[0], left : left + self.crop[1]]


def _parse(document: dict[str, Any]) -> Preprocessing:
    crop = _pair(document["crop_size"]) if document.get("do_center_crop", "crop_size" in document) else None
    size = _size(document["size"], cropped=crop is not None) if document.get("do_resize", True) else None
    least = (size, size) if isinstance(size, int) else size
    if crop is not None and (least is None or crop[0] > least[0] or crop[1] > least[1]):
        raise ValueError(f"a crop of {crop} from images of {size}")
    normalised = document.get("do_normalize", True)
    mean, std = (document["image_mean"], document["image_std"]) if normalised else ([0.0] * 3, [1.0] * 3)
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError(f"the mean {mean} and the deviation {std}")
    resample = 0 if size is None else int(document["resample"])
    if resample not in range(6):
        raise ValueError(f"the filter {resample}")
    return Preprocessing(
        size=size,
        resample=resample,
        crop=crop,
        scale=float(document.get("rescale_factor", 1 / 255)) if document.get("do_rescale", True) else 1.0,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
    )


def _size(value: Any, *, cropped: bool) -> Size | int:
    """The size; a plain number is the shorter side where images are then cropped, else both sides."""
    if isinstance(value, dict) and "shortest_edge" in value:
        return int(value["shortest_edge"])
    if isinstance(value, int) and cropped:
        return value
    return _pair(value)


def _pair(value: Any) -> Size:
    if isinstance(value, int):
        return value, value
    return int(value["height"]), int(value["width"])
