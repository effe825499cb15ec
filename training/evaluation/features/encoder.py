"""Pretrained encoders of images, from a folder or the hub: of transformers, or of timm where it is installed.

Which output is the feature of an image depends on the kind of model:

- plain vision transformers (ViT, DeiT, DINOv2, DINOv3): the class token after the last normalisation
- CLIP and SigLIP, which have texts, too: the image's place in the space that texts share
- others (ConvNeXt, Swin and so on): their own pooled output, or the mean over all tokens if they have none
- timm: what its model returns without a classifier

Shapes: B images, H and W pixels, D features.
"""

from __future__ import annotations

from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from histods.errors import HistodsError, MissingExtraError
from histods.io.workspace import read_json
from training.evaluation.features.preprocessing import Preprocessing
from training.evaluation.features.weights import NOT_TENSORS, read_tensors, weights_digest
from training.hub import find_folder, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_CONFIG = "config.json"
_FILES = (_CONFIG, "preprocessor_config.json", "model*.safetensors*", "pytorch_model*.bin*")
_WITH_CLASS_TOKEN = frozenset({"vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit"})
_WITH_TEXTS = frozenset({"clip", "siglip"})
_ERRORS = (OSError, ValueError, RuntimeError, TypeError, LookupError, UnpicklingError, SafetensorError)


class Encoder:
    """A pretrained encoder as a `FeatureExtractor`.

    Args:
        module: the network; it is switched to evaluation mode, and stays on its device.
        features: the features [B, D] of images [B, 3, h, w].
        preprocessing: what is done to images before.
        name: the folder or hub id that it was loaded from.
        kind: the kind of model, which becomes part of the digest.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        features: Callable[[Tensor], Tensor],
        *,
        preprocessing: Preprocessing,
        name: str,
        kind: str,
    ) -> None:
        self.name = name
        self._module = module.eval().requires_grad_(False)
        self._features = features
        self._preprocess = preprocessing
        self._device = next(module.parameters()).device
        self.digest = weights_digest(f"{kind} {preprocessing}", module.state_dict())
        black = torch.zeros((1, 256, 256, 3), dtype=torch.uint8)
        try:
            self.width = int(self(black).shape[1])
        except _ERRORS as error:
            raise HistodsError(
                f"The encoder in {name} cannot compute features of images ({one_line(error)}); give another."
            ) from error

    @torch.no_grad()
    def __call__(self, images_BHW3: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
        """Features, float32 [B, D], of uint8 images [B, H, W, 3]."""
        features_BD = self._features(self._preprocess(images_BHW3).to(self._device))
        found: NDArray[np.float32] = features_BD.float().flatten(1).cpu().numpy()
        return found

    @classmethod
    def load(cls, name: str, *, device: torch.device | str = "cpu") -> Encoder:
        """Load an encoder; only tensors are read, never code or pickled objects.

        Raises:
            HistodsError: the folder or hub id does not exist, or has no encoder of images with all its weights.
            MissingExtraError: transformers or timm is needed but not installed.
        """
        try:
            folder = find_folder(name, _FILES)
        except ImportError as error:
            raise _missing(name) from error
        if not (folder / _CONFIG).is_file():
            raise HistodsError(f"{name} holds no encoder: it has no {_CONFIG}; check the folder.")
        config = read_json(folder / _CONFIG)
        if "architecture" in config:
            return _load_timm(cls, folder, config, name, device)
        if "model_type" not in config:
            what = config.get("_class_name", f"a {_CONFIG} without model_type")
            raise HistodsError(f"{name} holds {what}, no encoder of transformers or timm; check the folder.")
        return _load_transformers(cls, folder, str(config["model_type"]), name, device)


def _load_transformers(
    make: type[Encoder], folder: Path, kind: str, name: str, device: torch.device | str
) -> Encoder:
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise _missing(name) from error
    preprocessing = Preprocessing.read(folder, name)
    try:
        with _quiet():
            module, told = AutoModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
    except _ERRORS as error:
        reason = NOT_TENSORS if isinstance(error, UnpicklingError) else one_line(error)
        raise HistodsError(f"The {kind} in {name} cannot be loaded: {reason}; download it again.") from error
    if kind not in _WITH_TEXTS and module.main_input_name != "pixel_values":
        raise HistodsError(f"{name} holds a {kind}, which encodes no images; give the folder of an image encoder.")
    _check_weights(told, kind, name)
    if kind in _WITH_CLASS_TOKEN and hasattr(module, "pooler"):
        module.pooler = None  # it is not used, and random where the file has none
    return make(module.to(device), _output_of(module, kind), preprocessing=preprocessing, name=name, kind=kind)


def _check_weights(told: dict[str, Any], kind: str, name: str) -> None:
    """Refuse weights that are missing or too many; a pooler beside the class token is not used."""
    wrong = [
        f"{what.removesuffix('_keys')} {key}"
        for what, keys in told.items()
        for key in sorted(map(str, keys))
        if not (kind in _WITH_CLASS_TOKEN and what != "mismatched_keys" and key.startswith("pooler."))
    ]
    if wrong:
        raise HistodsError(
            f"The weights in {name} do not match its {_CONFIG}: {len(wrong)} differ ({wrong[0]}); "
            "download them again."
        )


def _output_of(module: Any, kind: str) -> Callable[[Tensor], Tensor]:
    """What the features of a kind of model are, [B, D]."""

    def in_the_space_of_texts(x_B3hw: Tensor) -> Tensor:
        features: Tensor = module.get_image_features(pixel_values=x_B3hw).pooler_output
        return features

    def class_token(x_B3hw: Tensor) -> Tensor:
        tokens_BTD: Tensor = module(pixel_values=x_B3hw).last_hidden_state
        return tokens_BTD[:, 0]

    def pooled(x_B3hw: Tensor) -> Tensor:
        output = module(pixel_values=x_B3hw)
        own: Tensor | None = getattr(output, "pooler_output", None)
        tokens_BTD: Tensor = output.last_hidden_state
        return tokens_BTD.mean(1) if own is None else own

    if kind in _WITH_TEXTS:
        return in_the_space_of_texts
    return class_token if kind in _WITH_CLASS_TOKEN else pooled


def _load_timm(
    make: type[Encoder], folder: Path, config: dict[str, Any], name: str, device: torch.device | str
) -> Encoder:
    try:
        import timm
    except ImportError as error:
        missing = (error.name or "timm").partition(".")[0]  # timm, or torchvision, which it needs
        raise MissingExtraError(
            f'The encoder {name} needs {missing}, which is not installed; run "pip install {missing}".'
        ) from error
    tensors = _timm_weights(folder)
    try:
        preprocessing = Preprocessing.of_timm(config["pretrained_cfg"])
        module = timm.create_model(
            config["architecture"], pretrained=False, num_classes=0, **config.get("model_args", {})
        )
        module.load_state_dict(tensors)
    except _ERRORS as error:
        raise HistodsError(
            f"The {config['architecture']} in {name} cannot be loaded: {one_line(error)}; download it again."
        ) from error
    module = module.to(device)
    return make(module, module, preprocessing=preprocessing, name=name, kind=f"timm {config['architecture']}")


def _timm_weights(folder: Path) -> dict[str, Tensor]:
    safe = folder / "model.safetensors"
    return read_tensors(safe if safe.is_file() else folder / "pytorch_model.bin")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the messages and the progress bar of transformers, which is told of by exceptions and keys."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(
        f"The encoder {name} needs transformers, which is not installed; run \"pip install 'histods[encoders]'\"."
    )
