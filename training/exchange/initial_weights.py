"""Weights to start a run from, with the settings that give them their meaning: from another run or an export."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from histods.errors import HistodsError
from histods.io.checked import fit
from histods.io.workspace import read_json
from training.autoencoders.base import load_autoencoder
from training.config.model import ModelConfig
from training.config.sections import MEANING, LatentConfig, TrainConfig, flatten
from training.exchange.export_diffusers import WEIGHTS_FILE, read_export, read_scheduler
from training.latents.latent_space import LatentSpace
from training.runs.checkpoint import Weights, read_run, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from training.autoencoders.base import Autoencoder

_OF_DATA = frozenset({"model.num_classes", "model.image_size", "data.binarise", "data.reduce"})
"""Settings that depend on the data of the new run."""
_OF_ENDS = frozenset({"model.channels", "latents.space"})
"""Settings of the first and last layers."""
_ENDS = ("init_conv.weight", "init_conv.bias", "final_conv.weight", "final_conv.bias")
_TABLE, _FIRST = "classes_emb.weight", "init_conv.weight"
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Initial:
    """Trained weights and the settings that they were trained with.

    Attributes:
        place: the run and its step, or the export, for messages.
        config: settings of the network, the diffusion process and the latents; for an export, the others are
            defaults.
        space: the latent space.
        classes: names of the classes.
        tensors: the weights, by name.
        autoencoder: the autoencoder; None if the weights were imported without one.
        remake_ends: re-initialise the first and last layers, which allows other latents.
    """

    place: str
    config: TrainConfig
    space: LatentSpace
    classes: tuple[str, ...]
    tensors: dict[str, Tensor]
    autoencoder: Autoencoder | None
    remake_ends: bool = False

    @property
    def known_autoencoder(self) -> Autoencoder | None:
        """The autoencoder that the new run has to use; None if any will do."""
        return None if self.remake_ends else self.autoencoder

    @property
    def known_space(self) -> LatentSpace | None:
        """The latent space that the new run has to use; None if any will do."""
        return None if self.remake_ends else self.space

    def defaults(self) -> dict[str, dict[str, Any]]:
        """Settings that the weights need; requested settings override them."""
        needed: dict[str, dict[str, Any]] = {"latents": {"autoencoder": self.config.latents.autoencoder}}
        settings = flatten(self.config)
        for key in sorted(MEANING - _OF_DATA):
            section, name = key.split(".")
            needed.setdefault(section, {})[name] = settings[key]
        return needed

    def check(self, config: TrainConfig) -> None:
        """Reject settings that would change the meaning of the weights.

        Args:
            config: settings of the new run.

        Raises:
            HistodsError: there are such settings.
        """
        before, now = flatten(self.config), flatten(config)
        free = _OF_DATA | (_OF_ENDS if self.remake_ends else frozenset())
        other = [
            f"{key}: {before[key]} there, {now[key]} here"
            for key in sorted(MEANING - free)
            if before[key] != now[key]
        ]
        if other:
            raise HistodsError(
                f"The weights of {self.place} were trained with other settings: {'; '.join(other[:3])}. Omit "
                "these to start from the weights."
            )

    def check_autoencoder(self, digest: str) -> None:
        """Reject latents of another autoencoder.

        Raises:
            HistodsError: the weights were trained on latents of another autoencoder.
        """
        known = self.known_autoencoder
        if known is None or known.digest == digest:
            return
        raise HistodsError(
            f"The weights of {self.place} were trained on latents of the autoencoder {known.digest[:12]}, "
            f"but these data are latents of {digest[:12]}: train on shards (--data), whose images are encoded "
            "with the former, or add --remake-ends to re-initialise the first and last layers."
        )

    def fill(self, model: nn.Module, classes: tuple[str, ...]) -> str:
        """Load the weights into a network; classes are matched by name, and others keep their initial weights.

        Args:
            model: a network with these settings.
            classes: the names of its classes.

        Returns:
            A sentence on what the run starts from.

        Raises:
            HistodsError: the weights belong to another network.
        """
        known = {name.casefold(): index for index, name in enumerate(self.classes)}
        pairs = [(index, known.get(name.casefold())) for index, name in enumerate(classes)]
        ours = [index for index, theirs in pairs if theirs is not None]
        theirs = [index for _, index in pairs if index is not None]
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        try:
            for name, tensor in state.items():
                if self.remake_ends and name in _ENDS:
                    continue
                given = self.tensors[name]
                if name == _TABLE:
                    tensor[ours] = given[theirs]
                elif name == _FIRST and self.config.model.spatial:
                    channels = self.config.model.channels
                    tensor[:, :channels] = given[:, :channels]
                    tensor[:, [channels + index for index in ours]] = given[
                        :, [channels + index for index in theirs]
                    ]
                else:
                    tensor.copy_(given)
        except (KeyError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise HistodsError(
                f"The weights of {self.place} do not fit the network of its settings: {reason}."
            ) from error
        model.load_state_dict(state)
        return self._describe(
            [name for name, (_, index) in zip(classes, pairs, strict=True) if index is None], classes
        )

    def _describe(self, new: list[str], classes: tuple[str, ...]) -> str:
        named = ", ".join(new[:_MAX_NAMED]) + (
            f" and {len(new) - _MAX_NAMED} more" if len(new) > _MAX_NAMED else ""
        )
        begun = f", {named} from scratch" if new else ""
        ends = "; the first and last layers start from scratch" if self.remake_ends else ""
        matched = len(classes) - len(new)
        return (
            f"Starting from the weights of {self.place}: {matched} of {len(classes)} classes by name{begun}{ends}."
        )


def read_initial(init: str | Path, runs: Path, weights: Weights = "ema", *, remake_ends: bool = False) -> Initial:
    """Read the weights of a run (its folder, one of its checkpoints, or its name in `runs`), or of an export.

    Args:
        init: the run or export.
        runs: folder of the workspace's runs.
        weights: which weights of a run to use: `ema` (averaged) or `model` (as the optimizer left them).
        remake_ends: re-initialise the first and last layers.

    Raises:
        HistodsError: there is no such run or export, or it is damaged.
    """
    if (Path(init) / "unet" / WEIGHTS_FILE).is_file():
        return _of_export(Path(init), remake_ends=remake_ends)
    read = read_run(init, runs)
    read.expect("images", "--init")
    named = read.state.autoencoder["name"]
    own = "linear" if named in ("", "autoencoder") else named
    return Initial(
        place=f"{read.folder} at step {read.step:,}",
        config=replace(read.config, latents=replace(read.config.latents, autoencoder=own)),
        space=read.space,
        classes=read.classes,
        tensors=read_tensors(read.checkpoint, weights),
        autoencoder=read.load_autoencoder() if named else None,
        remake_ends=remake_ends,
    )


def _of_export(folder: Path, *, remake_ends: bool) -> Initial:
    about = read_export(folder)
    try:
        settings = read_json(folder / "unet" / "config.json")
        known = {entry.name for entry in fields(ModelConfig)}
        values = {name: value for name, value in settings.items() if name in known}
        model = ModelConfig(**values | {"dim_mults": tuple(values["dim_mults"])})
        classes = fit(about["classes"], tuple[str, ...], "classes")
        space = LatentSpace.from_json(about["latent_space"])
        tensors = load_file(folder / "unet" / WEIGHTS_FILE)
    except (KeyError, TypeError, SafetensorError, OSError) as error:
        raise HistodsError(
            f"{folder} is not a complete export ({error}): make it again with 'histods export'."
        ) from error
    vae = folder / "vae"
    autoencoder = load_autoencoder(str(vae)) if vae.is_dir() else None
    linear = autoencoder is None or autoencoder.name == "linear"
    latents = LatentConfig(autoencoder="linear" if linear else str(vae.resolve()), space=_name_space(space))
    return Initial(
        place=str(folder),
        config=TrainConfig(model=model, diffusion=read_scheduler(folder), latents=latents),
        space=space,
        classes=classes,
        tensors=tensors,
        autoencoder=autoencoder,
        remake_ends=remake_ends,
    )


def _name_space(space: LatentSpace) -> Any:
    """The name of a latent space; any that is not a named preset is `default`."""
    named = [name for name in ("paper", "fork") if LatentSpace.preset(name) == space]
    return named[0] if named else "default"
