"""The sections of a configuration, and the range of each setting."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import yaml

from training.config.model import LATENT_FACTOR, ModelConfig
from training.config.setting import expect_setting

AverageKind = Literal["exponential", "power"]
BoardName = Literal["tensorboard", "wandb", "mlflow"]
OptimizerName = Literal["adamw", "adam"]
LevelDraw = Literal["uniform", "logit_normal"]
Prediction = Literal["epsilon", "v", "x0", "flow"]
RateSchedule = Literal["constant", "onecycle"]
What = Literal["images", "masks"]

_MAX_STEPS = 99_999_999
"""The names of checkpoints have 8 digits for the step; with more, sorting by name would not sort by step."""
_MAX_WORKERS = 1024
"""More is surely a mistake and would exhaust the machine."""
_MAX_REDUCED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionConfig:
    """The diffusion process and what the network predicts.

    Attributes:
        timesteps: noise levels.
        sampling_timesteps: default number of sampling steps.
        schedule: one of `training.diffusion.process.NOISE_SCHEDULES`: `cosine` (Nichol and Dhariwal 2021),
            `linear` (Ho et al. 2020), or `rectified_flow` (Liu et al. 2023), the default with prediction `flow`.
        zero_terminal_snr: rescale the schedule so that the last level is pure noise (Lin et al. 2024).
        prediction: what the network predicts: the noise `epsilon`, the velocity `v`, `x0`, or the `flow`, noise
            minus x0.
        levels: how training draws noise levels: `uniform`, or `logit_normal` (Esser et al. 2024), which prefers
            those in the middle, the default with prediction `flow`.
        min_snr_gamma: weight errors by min(SNR, gamma) (Hang et al. 2023), so that a level without signal has no
            weight unless epsilon is predicted; None, the default with prediction `flow`, weights all levels alike.
        min_v_weight: lower bound of the weight of an error of v at any level. Levels with almost no signal decide
            the brightness, and min(SNR, gamma) leaves 0.24 % of all weight to the last tenth of the levels.
        null_probability: share of training samples whose condition is dropped.
        guidance_scale: default guidance scale when sampling; 1 means no guidance.

    Raises:
        HistodsError: a value is out of range, or values contradict each other.
    """

    timesteps: int = 1000
    sampling_timesteps: int = 250
    schedule: str = "cosine"
    zero_terminal_snr: bool = False
    prediction: Prediction = "v"
    levels: LevelDraw = "uniform"
    min_snr_gamma: float | None = 5.0
    min_v_weight: float = 0.0  # new runs use 0.1: see `training.verbs.train_settings`
    null_probability: float = 0.1
    guidance_scale: float = 3.0

    def __post_init__(self) -> None:
        steps, gamma = self.timesteps, self.min_snr_gamma
        _diffusion(steps >= 2, "timesteps", "at least 2", steps)
        _diffusion(
            1 <= self.sampling_timesteps <= steps,
            "sampling_timesteps",
            f"from 1 to the number of timesteps, {steps}",
            self.sampling_timesteps,
        )
        _diffusion(
            self.prediction in get_args(Prediction), "prediction", "epsilon, v, x0 or flow", self.prediction
        )
        _diffusion(self.levels in get_args(LevelDraw), "levels", "uniform or logit_normal", self.levels)
        _diffusion(gamma is None or gamma > 0, "min_snr_gamma", "above 0 or null", gamma)
        _diffusion(0 <= self.min_v_weight <= 1, "min_v_weight", "from 0 to 1", self.min_v_weight)
        _diffusion(0 <= self.null_probability <= 1, "null_probability", "from 0 to 1", self.null_probability)
        _diffusion(
            0 <= self.guidance_scale < math.inf, "guidance_scale", "at least 0 and finite", self.guidance_scale
        )
        _diffusion(
            not self.zero_terminal_snr or self.prediction != "epsilon",
            "prediction",
            "v, x0 or flow with zero_terminal_snr (the noise in pure noise says nothing about the image)",
            self.prediction,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """The optimizer and its learning rate.

    Attributes:
        name: `adamw` or `adam`.
        lr: peak learning rate.
        betas: decay rates of the two moments.
        weight_decay: decoupled for AdamW, added to the gradient for Adam.
        clip_norm: maximum gradient norm of a step.
        schedule: `constant` after a warm-up, which does not depend on the number of steps, so a run can be
            extended; or `onecycle` (Smith and Topin 2018), which does.
        warmup_steps: warm-up steps of `constant`.
        pct_start: for `onecycle`, the share of steps in which the rate rises.
        cycle_momentum: for `onecycle`, let the first beta fall while the rate rises and rise while it falls.

    Raises:
        HistodsError: a value is out of range.
    """

    name: OptimizerName = "adamw"
    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    schedule: RateSchedule = "constant"
    warmup_steps: int = 100
    pct_start: float = 0.3
    cycle_momentum: bool = False

    def __post_init__(self) -> None:
        two_betas = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _optimizer(self.name in get_args(OptimizerName), "name", "adamw or adam", self.name)
        _optimizer(0 < self.lr < math.inf, "lr", "above 0 and finite", self.lr)
        _optimizer(two_betas, "betas", "two numbers, both at least 0 and below 1", self.betas)
        _optimizer(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0 and finite", self.weight_decay)
        _optimizer(self.clip_norm > 0, "clip_norm", "above 0", self.clip_norm)
        _optimizer(self.schedule in get_args(RateSchedule), "schedule", "constant or onecycle", self.schedule)
        _optimizer(self.warmup_steps >= 0, "warmup_steps", "at least 0", self.warmup_steps)
        _optimizer(0 < self.pct_start < 1, "pct_start", "above 0 and below 1", self.pct_start)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaConfig:
    """How weights are averaged.

    Attributes:
        kind: `exponential`, or `power`, whose window grows with the run (Karras et al. 2024).
        decay: for `exponential`, the decay at each update late in the run.
        every: steps between updates.
        sigma_rel: for `power`, the standard deviation of the window as a share of the run.
        snapshots_every: steps between snapshots of two more averages, of which `histods sample --ema-length` makes
            averages of other lengths after training (see `training.runs.post_hoc_ema`); 0 for none.

    Raises:
        HistodsError: a value is out of range.
    """

    kind: AverageKind = "power"
    decay: float = 0.995
    every: int = 1
    sigma_rel: float = 0.05
    snapshots_every: int = 0

    def __post_init__(self) -> None:
        _ema(self.kind in get_args(AverageKind), "kind", "exponential or power", self.kind)
        _ema(0 <= self.decay < 1, "decay", "at least 0 and below 1", self.decay)
        _ema(self.every >= 1, "every", "at least 1", self.every)
        _ema(0 < self.sigma_rel <= 0.28, "sigma_rel", "above 0 and at most 0.28", self.sigma_rel)
        _ema(
            self.snapshots_every >= 0 and self.snapshots_every % self.every == 0,
            "snapshots_every",
            f"a multiple of ema.every = {self.every}, or 0 for none",
            self.snapshots_every,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What is trained on, and how training samples are drawn.

    Attributes:
        what: `images`, given their masks; or `masks`, given the proportions of classes.
        batch_size: samples per optimizer step, over all processes.
        splits: splits to train on; by default `train`, or all splits if none has that name.
        validation_split: split to validate on; by default `val`, else held-out training samples.
        unconditional: probability of drawing an unconditional sample; the classes share the rest equally. By
            default 0.5, or 0 if there are no unconditional samples. A run of masks draws none.
        replacement: draw each position independently; else each class goes through all its samples before any
            repeats.
        binarise: keep only the drawn class in a mask, as the original does.
        augment: apply the dihedral view that belongs to the position.
        reduce: factor by which images and masks are downsampled before encoding; 1 for none.
        class_weights: relative probability of drawing each class, by name; 1 by default. Classes without samples
            have probability 0. A run of masks draws each mask as often as any other unless weights are given.
        workers: number of processes that decode images, or of threads that read latents.
    """

    what: What = "images"
    batch_size: int = 4
    splits: tuple[str, ...] = ()
    validation_split: str | None = None
    unconditional: float | None = None
    replacement: bool = True
    binarise: bool = False
    augment: bool = True
    reduce: int = 1
    class_weights: dict[str, float] = field(default_factory=dict)
    workers: int = 2

    def __post_init__(self) -> None:
        expect_setting(self.batch_size >= 1, "data.batch_size", "at least 1", self.batch_size)
        share = self.unconditional
        expect_setting(share is None or 0 <= share <= 1, "data.unconditional", "from 0 to 1", share)
        expect_setting(1 <= self.reduce <= _MAX_REDUCED, "data.reduce", f"from 1 to {_MAX_REDUCED}", self.reduce)
        expect_setting(
            all(0 <= weight < float("inf") for weight in self.class_weights.values()),
            "data.class_weights",
            "a finite number from 0 for each class",
            self.class_weights,
        )
        expect_setting(
            0 <= self.workers <= _MAX_WORKERS, "data.workers", f"from 0 to {_MAX_WORKERS}", self.workers
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentConfig:
    """The autoencoder and the normalisation of its latents.

    Attributes:
        autoencoder: `linear`, a folder, or a hub id; for encoded latents, the one that made them.
        space: `default` (whitened), `paper` (z/50) or `fork`; see `training.latents.latent_space`.
    """

    autoencoder: str = "linear"
    space: Literal["default", "paper", "fork"] = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Length, precision and intervals of a run.

    Attributes:
        steps: total number of optimizer steps.
        seed: the seed of all randomness.
        accumulate: forward passes per step of `data.batch_size` samples.
        precision: `bf16` computes in bfloat16 with weights in float32; or `fp32`.
        compile: compile the network block by block with torch.compile.
        compile_mode: mode of torch.compile: `default`; `reduce-overhead`, which replays CUDA graphs and pays off
            with small batches; `max-autotune`, which tries several kernels for each block, with CUDA graphs or
            without.
        compress_gradients: let GPUs exchange gradients in bfloat16, which halves the traffic between machines.
        channels_last: store features with channels innermost, which GPU convolutions prefer.
        log_every: steps between writes to metrics.jsonl; metrics of each step stay on the device until then.
        checkpoint_every: steps between checkpoints; the last step always has one.
        keep_checkpoints: number of newest checkpoints to keep.
        validate_every: steps between validations; 0 for none.
        validation_samples: samples in the fixed validation set.
        preview_every: steps between previews; 0 for none.
        preview_samples: masks in a preview.
        preview_steps: sampling steps of a preview.
        boards: dashboards that also show metrics and previews: `tensorboard`, `wandb`, `mlflow`.
        max_skipped: number of consecutive steps with a non-finite loss or gradient that ends a run.
    """

    steps: int = 50_000
    seed: int = 0
    accumulate: int = 1
    precision: Literal["bf16", "fp32"] = "fp32"
    compile: bool = False
    compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default"
    compress_gradients: bool = False
    channels_last: bool = False
    log_every: int = 10
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3
    validate_every: int = 1000
    validation_samples: int = 64
    preview_every: int = 1000
    preview_samples: int = 4
    preview_steps: int = 25
    boards: tuple[str, ...] = ("tensorboard",)
    max_skipped: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every", "checkpoint_every", "keep_checkpoints", "max_skipped"):
            expect_setting(getattr(self, name) >= 1, f"run.{name}", "at least 1", getattr(self, name))
        expect_setting(self.steps <= _MAX_STEPS, "run.steps", f"at most {_MAX_STEPS:,}", self.steps)
        for name in ("validate_every", "preview_every"):
            expect_setting(getattr(self, name) >= 0, f"run.{name}", "at least 0", getattr(self, name))
        for name in ("validation_samples", "preview_samples", "preview_steps"):
            expect_setting(getattr(self, name) >= 1, f"run.{name}", "at least 1", getattr(self, name))
        known = get_args(BoardName)
        expect_setting(
            set(self.boards) <= set(known),
            "run.boards",
            f"a list of names from {', '.join(known)}",
            list(self.boards),
        )
        expect_setting(  # a graph would overwrite the gradients of the first part
            self.accumulate == 1 or self.compile_mode in ("default", "max-autotune-no-cudagraphs"),
            "run.compile_mode",
            "default or max-autotune-no-cudagraphs where run.accumulate is above 1",
            self.compile_mode,
        )
        expect_setting(0 <= self.seed < 1 << 63, "run.seed", "from 0 to 2**63 - 1", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """All sections of a configuration."""

    model: ModelConfig = field(default_factory=ModelConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        expect_setting(
            self.data.batch_size % self.run.accumulate == 0,
            "data.batch_size",
            f"a multiple of run.accumulate = {self.run.accumulate}",
            self.data.batch_size,
        )
        if self.data.what == "masks":
            self._check_masks()

    def _check_masks(self) -> None:
        """Reject settings with which a network cannot make masks."""
        model, data = self.model, self.data
        needed = {
            "model.class_conditioning": (model.class_conditioning, "proportions"),
            "model.spatial": (model.spatial, False),
            "data.binarise": (data.binarise, False),
            "data.unconditional": (data.unconditional or None, None),
        }
        for name, (found, condition) in needed.items():
            shown = str(condition).lower() if condition is not None else "null"
            expect_setting(found == condition, name, f"{shown} with data.what=masks", found)

    @property
    def latent_factor(self) -> int:
        """Pixels along each side of what the network computes on: a latent of an image, or a pixel of a mask."""
        return 1 if self.data.what == "masks" else LATENT_FACTOR

    def to_yaml(self) -> str:
        """The configuration as YAML, which `read_config` reads back unchanged."""
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False, width=100)


MEANING = frozenset(
    {
        *(f"model.{entry.name}" for entry in fields(ModelConfig) if entry.name not in ("dropout", "attention")),
        *(f"diffusion.{name}" for name in ("prediction", "schedule", "timesteps", "zero_terminal_snr")),
        *("data.what", "data.binarise", "data.reduce", "latents.space"),
    }
)
"""Settings that give weights their meaning: with others, the network would solve another task than it learned."""


def flatten(config: TrainConfig) -> dict[str, Any]:
    """All settings, by `section.key`."""
    return {
        f"{section}.{key}": value for section, values in asdict(config).items() for key, value in values.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _diffusion(fits: bool, name: str, condition: str, found: object) -> None:
    expect_setting(fits, f"diffusion.{name}", condition, found)


def _ema(fits: bool, name: str, condition: str, found: object) -> None:
    expect_setting(fits, f"ema.{name}", condition, found)


def _optimizer(fits: bool, name: str, condition: str, found: object) -> None:
    expect_setting(fits, f"optimizer.{name}", condition, found)
