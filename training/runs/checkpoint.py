"""Checkpoints and runs on disk: safetensors and JSON, written atomically and verified by digests when read.

```
runs/NAME/
  config.yaml                     the resolved configuration
  autoencoder/                    the linear autoencoder, if the run uses it
  checkpoints/latest              the name of the newest checkpoint
  checkpoints/step-00001000/      model, ema, optimizer (.safetensors), state.json, config.yaml; of a run of masks
                                  also proportions.safetensors, those of training masks
  snapshots/step-00005000/        averages for `post_hoc_ema`, in float16; the same files without an optimizer
  metrics.jsonl  tensorboard/  samples/
```
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from histods.errors import HistodsError
from histods.io.atomic import file_digest, write_json, write_text
from histods.io.checked import build, is_name
from histods.io.workspace import read_json
from training.config.load import read_config
from training.diffusion.process import Schedule
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.runs.post_hoc_ema import SNAPSHOTS, plan_average

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from training.autoencoders.base import Autoencoder
    from training.config.sections import TrainConfig, What

SCHEMA_VERSION = 1
_CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
Weights = Literal["ema", "model"]


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The state of a run: `state.json`.

    Attributes:
        step: optimizer steps done.
        position: the next position of the sequence of samples.
        index_digest: digest of the index of the shards or latents; empty for an imported model.
        classes: names of the classes.
        map_digest: digest of their label map.
        autoencoder: name (`autoencoder` is the one in the run's folder) and digest; empty if an import had none.
        latent_space: scale, shift, mean, std, clip and image range.
        skipped: number of steps skipped because the loss or gradient was not finite.
    """

    step: int
    position: int
    index_digest: str
    classes: tuple[str, ...]
    map_digest: str
    autoencoder: dict[str, str]
    latent_space: dict[str, Any]
    skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run to sample from, at its newest checkpoint or a given one."""

    folder: Path
    checkpoint: Path
    config: TrainConfig
    state: State

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.state.step

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.state.classes

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return Schedule.of(self.config.diffusion)

    @property
    def space(self) -> LatentSpace:
        """The latent space."""
        return LatentSpace.from_json(self.state.latent_space)

    def expect(self, what: What, option: str) -> None:
        """Refuse a run that makes something else.

        Args:
            what: what it must make.
            option: the option that names a run, for the message.

        Raises:
            HistodsError: it makes something else.
        """
        found = self.config.data.what
        if found != what:
            raise HistodsError(
                f"{self.folder} is a run of {found}, not of {what}: name a run of {what} with {option} "
                f"('histods train --what {what}' makes one)."
            )

    def load_autoencoder(self, device: torch.device | str = "cpu") -> Autoencoder:
        """The autoencoder that the run was trained with.

        Raises:
            HistodsError: it cannot be loaded, or it has changed.
        """
        from training.autoencoders.base import load_autoencoder

        name = self.state.autoencoder["name"]
        if not name:
            raise HistodsError(
                f"{self.folder} was imported without an autoencoder; run "
                "'histods import' again with --autoencoder and the same --out."
            )
        if name == "autoencoder":
            name = str(self.folder / name)
        autoencoder = load_autoencoder(name, device)
        if autoencoder.digest != self.state.autoencoder["digest"]:
            raise HistodsError(
                f"{name} is another autoencoder ({autoencoder.digest[:12]}) than the one with which {self.folder} "
                f"was trained ({self.state.autoencoder['digest'][:12]}); restore the old one."
            )
        return autoencoder


def write_run(folder: Path, config: TrainConfig) -> None:
    """Start a run: create its folder and write its configuration."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", config.to_yaml())


def save_checkpoint(
    run: Path,
    state: State,
    parts: Mapping[str, Mapping[str, Tensor]],
    *,
    config: TrainConfig | None = None,
    keep: int | None = None,
    home: str = CHECKPOINTS,
) -> Path:
    """Write a checkpoint, or a snapshot, under a temporary name, rename it, and only then point `latest` to it.

    Args:
        run: the run's folder.
        state: the state of the run.
        parts: `model`, `ema`, `optimizer` and those of snapshots, or some of them, each with tensors by name.
        config: settings that the weights were trained with; if None, those of the run's folder, which may change
            when training resumes.
        keep: number of newest checkpoints to keep; None keeps all.
        home: the folder in the run's folder.

    Raises:
        HistodsError: it could not be written; earlier checkpoints are unchanged.
    """
    place = run / home
    name = f"step-{state.step:08d}"
    for torn in place.glob(".step-*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    making = place / f".{name}.part"
    try:
        making.mkdir(parents=True)
        for part, tensors in parts.items():
            _write_tensors(making / f"{part}.safetensors", tensors)
        if config is not None:
            write_text(making / _CONFIG, config.to_yaml())
        files = {path.name: file_digest(path) for path in sorted(making.iterdir())}
        write_json(making / "state.json", {"schema_version": SCHEMA_VERSION, **asdict(state), "files": files})
        _sync(making)
        shutil.rmtree(place / name, ignore_errors=True)
        making.rename(place / name)
        write_text(place / "latest", name + "\n")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(making, ignore_errors=True)
        before = newest(run)
        there = f"; {before.name} is intact" if before else ""
        raise HistodsError(
            f"The checkpoint {place / name} could not be written: {error}{there}; make room and run the same "
            "command again."
        ) from error
    if keep is not None:
        for old in sorted(place.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    return place / name


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path)


def _sync(folder: Path) -> None:
    """Flush a folder's files to disk before the folder is renamed to its final name."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def newest(run: Path) -> Path | None:
    """The checkpoint that `latest` names, or the newest complete one if that file is missing, or None."""
    home = run / "checkpoints"
    try:
        name = (home / "latest").read_text(encoding="utf-8").strip()
        if is_name(name) and (home / name / "state.json").is_file():
            return home / name
    except (OSError, UnicodeDecodeError):
        pass
    whole = [path for path in sorted(home.glob("step-*")) if (path / "state.json").is_file()]
    return whole[-1] if whole else None


def read_settings(checkpoint: Path) -> TrainConfig:
    """Read the settings that a checkpoint's weights were trained with.

    Checkpoints of histods 0.1 do not have them, but their run's folder does.

    Raises:
        HistodsError: the file is not a configuration.
    """
    own = checkpoint / _CONFIG
    return read_config(own if own.is_file() else checkpoint.parent.parent / _CONFIG)


def read_state(checkpoint: Path) -> State:
    """Read the state of a checkpoint.

    Raises:
        HistodsError: `state.json` is not a valid state.
    """
    document = read_json(checkpoint / "state.json")
    document.pop("files", None)
    try:
        version = document.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise HistodsError(
                f"{checkpoint} is a checkpoint of version {version}, and this histods reads version "
                f"{SCHEMA_VERSION}; use the histods that wrote it."
            )
        return build(State, document)
    except (KeyError, ValueError) as error:
        raise HistodsError(
            f"{checkpoint / 'state.json'} does not hold a checkpoint's state ({error}); {_instead(checkpoint)}."
        ) from error


def read_tensors(checkpoint: Path, part: str) -> dict[str, Tensor]:
    """Read the tensors of one part and verify the digest that was written with them.

    Raises:
        HistodsError: the file is missing or damaged; the message names the checkpoint to resume from instead.
    """
    path = checkpoint / f"{part}.safetensors"
    expected = read_json(checkpoint / "state.json").get("files", {}).get(path.name)
    if expected is None:
        if checkpoint.parent.name == SNAPSHOTS:
            raise HistodsError(f"{checkpoint} is a snapshot without {part!r}; add --ema-length, such as 0.1.")
        raise HistodsError(f"{checkpoint} has no part {part!r}; choose other weights.")
    try:
        found = file_digest(path)
        if found == expected:
            return load_file(path)
        reason = f"its SHA-256 is {found[:12]} instead of {expected[:12]}"
    except (OSError, SafetensorError) as error:
        reason = str(error)
    raise HistodsError(f"{path} is missing or damaged ({reason}); {_instead(checkpoint)}.")


def _instead(damaged: Path) -> str:
    """What to do about a damaged checkpoint or snapshot."""
    if damaged.parent.name == SNAPSHOTS:
        return f"remove {damaged}: averages are then made from the other snapshots"
    others = [path for path in sorted(damaged.parent.glob("step-*")) if path != damaged]
    sound = [path.name for path in others if (path / "state.json").is_file()]
    remove = f"remove {damaged} and run 'histods train' again"
    return f"{remove}: it resumes from {sound[-1]}" if sound else f"{remove}: it starts from scratch"


def find_run(run: str | Path, runs: Path = Path("histods-out", "runs")) -> tuple[Path, Path]:
    """Find a run's folder and checkpoint from the path of either, or from a name in `runs`.

    Raises:
        HistodsError: there is no such run, or it has no checkpoint yet.
    """
    for folder in (Path(run), runs / run):
        if (folder / "state.json").is_file():
            return folder.resolve().parent.parent, folder.resolve()
        if (folder / "config.yaml").is_file():
            checkpoint = newest(folder)
            if checkpoint is None:
                raise HistodsError(
                    f"There is no checkpoint in {folder} yet; run 'histods train --name {folder.name}'."
                )
            return folder, checkpoint
    known = sorted(path.parent.name for path in runs.glob("*/config.yaml"))
    there = f"choose one of {', '.join(known[:10])}" if known else "'histods train' makes one"
    raise HistodsError(f"There is no run {run}, as a folder or in {runs}; {there}.")


def read_run(run: str | Path, runs: Path = Path("histods-out", "runs")) -> Run:
    """Read a run, with its newest checkpoint or a given one.

    Raises:
        HistodsError: there is no such run, or it is damaged.
    """
    folder, checkpoint = find_run(run, runs)
    return Run(
        folder=folder,
        checkpoint=checkpoint,
        config=read_settings(checkpoint),
        state=read_state(checkpoint),
    )


def load_model(
    run: str | Path | Run,
    *,
    weights: Weights = "ema",
    ema_length: float | None = None,
    device: torch.device | str | None = None,
) -> UNet:
    """Load the network, in eval mode: `module(x[B, 4, h, w], t[B] int, mask[B, 1, H, W] int) -> [B, 4, h, w]`.

    Args:
        run: a run's folder, one of its checkpoints, or a `Run`.
        weights: `ema` (averaged) or `model` (as the optimizer left them).
        ema_length: the average of this length instead, made from snapshots; see `training.runs.post_hoc_ema`.
        device: the device to load to; by default a GPU if there is one.

    Raises:
        HistodsError: there is no such run, or it is damaged.
    """
    from training.distributed import choose_device

    read = run if isinstance(run, Run) else read_run(run)
    model = UNet(read.config.model)
    if ema_length is None:
        tensors = read_tensors(read.checkpoint, weights)
    else:
        tensors = plan_average(read.checkpoint, read.step, ema_length).combine(read_tensors)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise HistodsError(
            f"The weights in {read.checkpoint} do not fit the network of its settings: {reason}; restore the "
            "config.yaml with which it was made."
        ) from error
    return model.to(choose_device(device)).eval()
