"""A trained segmenter: predictions and features of images, and its two files.

```
FOLDER/segmenter.safetensors  its weights
FOLDER/segmenter.json         what it was trained on, how good it is, and the digest of its weights
```

Shapes: B images, H and W pixels, C classes, D features.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from histods.errors import HistodsError
from histods.io.atomic import file_digest, replacing, write_json
from histods.io.checked import build
from histods.io.workspace import read_json
from training.evaluation.images import as_images
from training.evaluation.segmenter.network import FACTOR, VERSION, WIDTH, Network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

WEIGHTS, DESCRIPTION = "segmenter.safetensors", "segmenter.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """How well a segmenter finds the classes in images that it was not trained on.

    Attributes:
        images: number of images that were judged.
        by_group: whether whole groups were held out; if not, parts of the same slide were trained on.
        dice: per class; None for classes that no mask has.
        mean_dice: over the classes that masks have; None if nothing was held out.
    """

    images: int
    by_group: bool
    dice: tuple[float | None, ...]
    mean_dice: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a segmenter is: `segmenter.json`.

    Attributes:
        version: of the network and its training.
        data: digest of the samples.
        classes: names of the classes.
        ignored: class that is never predicted; None for none.
        settings: steps, seed, batch size, crop, and digest of the groups.
        samples: number of samples that it was trained on.
        mean: of each colour of the training images, 0 to 255.
        std: standard deviation of each colour.
        validation: its score on held-out samples.
        weights: SHA-256 of the weights' file.
    """

    version: int
    data: str
    classes: tuple[str, ...]
    ignored: int | None
    settings: dict[str, int | str]
    samples: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: Validation
    weights: str = field(default="")


class Seen(NamedTuple):
    """What a segmenter sees in images: classes, uint8 [B, H, W], and features, float32 [B, D]."""

    labels_BHW: NDArray[np.uint8]
    features_BD: NDArray[np.float32]


class Segmenter:
    """A network that finds the class of each pixel of images of any size.

    Args:
        network: the network; it is switched to evaluation mode, and stays on its device.
        description: what it was trained on.

    Attributes:
        description: what it was trained on, and how good it is.
        width: number of features, D.
        digest: SHA-256 of weights and normalisation.
    """

    def __init__(self, network: Network, description: Description) -> None:
        self.description = description
        self.width = WIDTH
        self._network = network.eval().requires_grad_(False)
        self._device = next(network.parameters()).device
        self._normalise = Normaliser(description.mean, description.std, self._device)
        told = f"{description.version} {description.weights} {description.mean} {description.std}"
        self.digest = hashlib.sha256(f"{told} {description.ignored}".encode()).hexdigest()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.description.classes

    @property
    def validation(self) -> Validation:
        """How well it finds the classes in images that it was not trained on."""
        return self.description.validation

    def predict(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.uint8]:
        """The class of each pixel, uint8 [B, H, W], of uint8 images [B, H, W, 3] in RGB."""
        return self.see(images_BHW3).labels_BHW

    def features(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Features, float32 [B, D], of uint8 images [B, H, W, 3]: means of the last convolution's input."""
        return self.see(images_BHW3).features_BD

    @torch.no_grad()
    def see(self, images_BHW3: NDArray[np.uint8] | Tensor) -> Seen:
        """Classes and features at once, which costs as much as one of them.

        Sides that are no multiple of 16 are extended by reflection, and the predictions are cut to the image.
        """
        x_B3HW = self._normalise(images_BHW3)
        height, width = x_B3HW.shape[2:]
        x_B3HW = x_B3HW[:, :, self._reflected(height)][:, :, :, self._reflected(width)]
        logits_BCHW, last_BDHW = self._network.look(x_B3HW)
        if self.description.ignored is not None:
            logits_BCHW[:, self.description.ignored] = -torch.inf
        labels = logits_BCHW[:, :, :height, :width].argmax(dim=1).to(torch.uint8)
        features = last_BDHW[:, :, :height, :width].mean((2, 3))
        return Seen(labels.cpu().numpy(), features.cpu().numpy())

    def _reflected(self, side: int) -> Tensor:
        """Places of the pixels of a side that is extended to a multiple of 16."""
        places = np.pad(np.arange(side), (0, -side % FACTOR), mode="reflect")
        return torch.from_numpy(places).to(self._device)

    def save(self, folder: Path) -> Segmenter:
        """Write both files, the description last; the segmenter as it is then read back."""
        save_tensors(folder / WEIGHTS, self._network.state_dict())
        document = {**asdict(self.description), "weights": file_digest(folder / WEIGHTS)}
        write_json(folder / DESCRIPTION, document)
        return Segmenter.load(folder, self._device)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Segmenter:
        """Read a segmenter.

        Raises:
            HistodsError: a file is missing or damaged, or another version of histods wrote it.
            MissingExtraError: MONAI is not installed.
        """
        again = f"remove {folder}, and the same command trains it again"
        try:
            description = build(Description, read_json(folder / DESCRIPTION))
        except (ValueError, HistodsError) as error:
            raise HistodsError(f"{folder / DESCRIPTION} describes no segmenter ({error}); {again}.") from error
        if description.version != VERSION:
            raise HistodsError(f"{folder} has a segmenter of version {description.version}; {again}.")
        network = Network(len(description.classes))
        path = folder / WEIGHTS
        try:
            if file_digest(path) != description.weights:
                raise HistodsError(f"{path} is not the file that was written; {again}.")
            network.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise HistodsError(f"The weights in {path} cannot be read ({reason}); {again}.") from error
        return cls(network.to(device), description)


class Normaliser:
    """Turns uint8 images [B, H, W, 3] into float32 [B, 3, H, W] with the training images' mean 0 and deviation 1.

    Args:
        mean: of each colour, 0 to 255.
        std: standard deviation of each colour.
        device: where to compute.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._std = torch.tensor(std, device=device)[:, None, None]

    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> Tensor:
        """The images as the network wants them.

        Raises:
            HistodsError: they are not uint8 images in RGB.
        """
        images = as_images(images_BHW3)
        return (images.to(self._mean.device).permute(0, 3, 1, 2).float() - self._mean) / self._std


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata)
