"""The Inception-v3 network of the Frechet inception distance, from a file with its weights.

The network is that of Szegedy et al. 2016 (arXiv 1512.00567) as TensorFlow's graph of 2015-12-05 has it, which
Heusel et al. 2017 (arXiv 1706.08500) chose: average pooling does not count the border, the last block pools by
maximum, and images are resized as TensorFlow 1 did. Names of weights are those of the published conversion
`pt_inception-2015-12-05`.

Shapes: B images, H and W pixels, C channels, 2048 features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from histods.errors import HistodsError
from training.evaluation.features.weights import read_tensors, weights_digest
from training.evaluation.images import as_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_SIDE = 299
_LOGITS = 1008
_COUNTER = ".num_batches_tracked"
_ONE, _THREE, _WIDE, _HIGH = (1, 1), (3, 3), (1, 7), (7, 1)
_Branch = tuple[tuple[str, int, tuple[int, int], int], ...]
"""Convolutions one after the other: name, channels, kernel, stride; 0 for a stride of 2 without a border."""


class _Convolution(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self, before: int, after: int, kernel: tuple[int, int], *, stride: int = 1, border: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if border else 0
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x_BCHW)))


class _Block(nn.Module):
    """Branches side by side, whose channels are concatenated; the last one pools.

    Args:
        before: channels of the input.
        branches: of each branch, its convolutions.
        pool: pooling of the last branch.
        projected: channels of the convolution after pooling; None for none.
    """

    def __init__(
        self, before: int, branches: tuple[_Branch, ...], pool: Callable[[Tensor], Tensor], projected: int | None
    ) -> None:
        super().__init__()
        self._branches, self._pool = branches, pool
        for branch in branches:
            channels = before
            for name, after, kernel, stride in branch:
                made = _Convolution(channels, after, kernel, stride=stride or 2, border=stride > 0)
                self.add_module(name, made)
                channels = after
        if projected is not None:
            self.branch_pool = _Convolution(before, projected, _ONE)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        outputs = []
        for branch in self._branches:
            y_BCHW = x_BCHW
            for name, *_ in branch:
                y_BCHW = self.get_submodule(name)(y_BCHW)
            outputs.append(y_BCHW)
        pooled_BCHW = self._pool(x_BCHW)
        outputs.append(self.branch_pool(pooled_BCHW) if hasattr(self, "branch_pool") else pooled_BCHW)
        return torch.cat(outputs, dim=1)


class _Forked(nn.Module):
    """The widest blocks: two branches end in a pair of convolutions, 1x3 and 3x1, of the same input."""

    def __init__(self, before: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._pool = pool
        self.branch1x1 = _Convolution(before, 320, _ONE)
        self.branch3x3_1 = _Convolution(before, 384, _ONE)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Convolution(before, 448, _ONE)
        self.branch3x3dbl_2 = _Convolution(448, 384, _THREE)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1))
        self.branch_pool = _Convolution(before, 192, _ONE)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        short = self.branch3x3_1(x_BCHW)
        long = self.branch3x3dbl_2(self.branch3x3dbl_1(x_BCHW))
        outputs = [
            self.branch1x1(x_BCHW),
            self.branch3x3_2a(short),
            self.branch3x3_2b(short),
            self.branch3x3dbl_3a(long),
            self.branch3x3dbl_3b(long),
            self.branch_pool(self._pool(x_BCHW)),
        ]
        return torch.cat(outputs, dim=1)


def _average(x_BCHW: Tensor) -> Tensor:
    """Mean of 3x3 pixels; at the border, of those that exist."""
    return avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


def _halve(x_BCHW: Tensor) -> Tensor:
    return max_pool2d(x_BCHW, 3, stride=2)


def _highest(x_BCHW: Tensor) -> Tensor:
    return max_pool2d(x_BCHW, 3, stride=1, padding=1)


def _fine(before: int, projected: int) -> _Block:
    """A block at 35x35."""
    branches: tuple[_Branch, ...] = (
        (("branch1x1", 64, _ONE, 1),),
        (("branch5x5_1", 48, _ONE, 1), ("branch5x5_2", 64, (5, 5), 1)),
        (("branch3x3dbl_1", 64, _ONE, 1), ("branch3x3dbl_2", 96, _THREE, 1), ("branch3x3dbl_3", 96, _THREE, 1)),
    )
    return _Block(before, branches, _average, projected)


def _to_middle(before: int) -> _Block:
    """From 35x35 to 17x17."""
    branches: tuple[_Branch, ...] = (
        (("branch3x3", 384, _THREE, 0),),
        (("branch3x3dbl_1", 64, _ONE, 1), ("branch3x3dbl_2", 96, _THREE, 1), ("branch3x3dbl_3", 96, _THREE, 0)),
    )
    return _Block(before, branches, _halve, None)


def _middle(inner: int) -> _Block:
    """A block at 17x17, with `inner` channels between its 1x7 and 7x1 convolutions."""
    branches: tuple[_Branch, ...] = (
        (("branch1x1", 192, _ONE, 1),),
        (("branch7x7_1", inner, _ONE, 1), ("branch7x7_2", inner, _WIDE, 1), ("branch7x7_3", 192, _HIGH, 1)),
        (
            ("branch7x7dbl_1", inner, _ONE, 1),
            ("branch7x7dbl_2", inner, _HIGH, 1),
            ("branch7x7dbl_3", inner, _WIDE, 1),
            ("branch7x7dbl_4", inner, _HIGH, 1),
            ("branch7x7dbl_5", 192, _WIDE, 1),
        ),
    )
    return _Block(768, branches, _average, 192)


def _to_coarse(before: int) -> _Block:
    """From 17x17 to 8x8."""
    branches: tuple[_Branch, ...] = (
        (("branch3x3_1", 192, _ONE, 1), ("branch3x3_2", 320, _THREE, 0)),
        (
            ("branch7x7x3_1", 192, _ONE, 1),
            ("branch7x7x3_2", 192, _WIDE, 1),
            ("branch7x7x3_3", 192, _HIGH, 1),
            ("branch7x7x3_4", 192, _THREE, 0),
        ),
    )
    return _Block(before, branches, _halve, None)


class InceptionV3(nn.Module):
    """The network, up to the 2048 averaged features; its last layer is read, but not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, _THREE, stride=2, border=False)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, _THREE, border=False)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, _THREE)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, _ONE)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, _THREE, border=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _fine(192, 32), _fine(256, 64), _fine(288, 64)
        self.Mixed_6a = _to_middle(288)
        self.Mixed_6b, self.Mixed_6c = _middle(128), _middle(160)
        self.Mixed_6d, self.Mixed_6e = _middle(160), _middle(192)
        self.Mixed_7a = _to_coarse(768)
        self.Mixed_7b, self.Mixed_7c = _Forked(1280, _average), _Forked(2048, _highest)
        self.fc = nn.Linear(2048, _LOGITS)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Features [B, 2048] of images from 0 to 255."""
        x = (resize_like_tensorflow(images_B3HW, _SIDE) - 128) / 128
        x = _halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = _halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features_BD: Tensor = x.mean((2, 3))
        return features_BD


def resize_like_tensorflow(images_BCHW: Tensor, side: int) -> Tensor:
    """Resize to [B, C, side, side] as TensorFlow 1 did: bilinear, corners at 0, without smoothing before."""
    rows_BCHW = _interpolate(images_BCHW, side, 2)
    return _interpolate(rows_BCHW, side, 3)


def _interpolate(images_BCHW: Tensor, side: int, axis: int) -> Tensor:
    length = images_BCHW.shape[axis]
    places = torch.arange(side, dtype=torch.float32, device=images_BCHW.device) * (length / side)
    below = places.long()
    share = (places - below).reshape((-1, 1) if axis == 2 else (-1,))
    first = images_BCHW.index_select(axis, below)
    return first + (images_BCHW.index_select(axis, (below + 1).clamp_max(length - 1)) - first) * share


class Inception:
    """FID's Inception network as a `FeatureExtractor`.

    Args:
        network: the network; it is switched to evaluation mode, and stays on its device.
        name: the name that it was loaded by.
    """

    def __init__(self, network: InceptionV3, name: str) -> None:
        self.name = name
        self.width = 2048
        self._network = network.eval().requires_grad_(False)
        counted = {key: value for key, value in network.state_dict().items() if not key.endswith(_COUNTER)}
        self.digest = weights_digest("FID Inception, TensorFlow 1 bilinear 299", counted)

    @torch.no_grad()
    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Features, float32 [B, 2048], of uint8 images [B, H, W, 3]."""
        images_B3HW = as_images(images_BHW3).permute(0, 3, 1, 2)
        features: NDArray[np.float32] = (
            self._network(images_B3HW.to(self._network.fc.weight.device).float()).cpu().numpy()
        )
        return features

    @classmethod
    def load(cls, path: Path, *, name: str, device: torch.device | str = "cpu") -> Inception:
        """Read the weights; only tensors are read, never pickled objects.

        Raises:
            HistodsError: there is no such file, or it has other weights.
        """
        if not path.is_file():
            raise HistodsError(f"There is no file {path}; give the weights of FID's Inception network.")
        tensors = read_tensors(path)
        network = InceptionV3()
        told = network.load_state_dict(_of_known_shapes(tensors, network, path), strict=False)
        missing = [key for key in told.missing_keys if not key.endswith(_COUNTER)]
        wrong = [*(f"no {key}" for key in missing), *(f"an unknown {key}" for key in told.unexpected_keys)]
        if wrong:
            raise HistodsError(
                f"{path} does not hold FID's Inception network: {len(wrong)} weights differ ({wrong[0]}); "
                "download pt_inception-2015-12-05-6726825d.pth."
            )
        return cls(network.to(device), name)


def _of_known_shapes(tensors: dict[str, Tensor], network: InceptionV3, path: Path) -> dict[str, Tensor]:
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    for key, tensor in tensors.items():
        if key in shapes and tensor.shape != shapes[key]:
            raise HistodsError(
                f"{path} does not hold FID's Inception network: {key} is {tuple(tensor.shape)}, not "
                f"{tuple(shapes[key])}; download pt_inception-2015-12-05-6726825d.pth."
            )
    return tensors
