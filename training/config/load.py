"""The configuration of a run: typed sections, read from YAML, with presets and single settings on top.

A file of the reference (`model:` and `diffusion:` alone) is read as it is. Each part of the trainer owns its
section; here they are put together, and whatever is unknown is an error that names the nearest known key.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml

from histods.errors import HistodsError
from histods.io.strict_yaml import OddScalar, Origin, load_yaml
from training.config.setting import expect_setting, wrong_setting
from training.diffusion.process import DiffusionConfig
from training.model.unet import ModelConfig
from training.runs.boards import BOARDS
from training.trainer.ema import EmaConfig
from training.trainer.lr_schedule import OptimizerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from histods.io.strict_yaml import Value

_MOST_STEPS = 99_999_999
"""What the names of checkpoints have digits for: beyond, their order by name would not be that of steps."""
_MOST_WORKERS = 1024
"""More is a slip, and would bring the machine to its knees."""
_MOST_REDUCED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What is drawn.

    Attributes:
        splits: splits that are trained on; `train`, or all where there is none of that name.
        validation_split: split to validate on; by default `val`, else training samples that are held out.
        unconditional: probability of drawing an unconditional sample; the rest is shared by the classes equally.
            By default 0.5, or 0 where there are none.
        replacement: draw every position by itself; else each class runs through all its samples first.
        binarise: keep only the drawn class in a mask, as the original does.
        augment: show the dihedral view that belongs to the position.
        reduce: factor by which images and masks are reduced before they are encoded; 1 for none.
        class_weights: relative probability of drawing each class, by its name; 1 where none is given. Classes
            without samples have probability 0.
        workers: processes that decode images, or threads that read latents.
    """

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
        share = self.unconditional
        expect_setting(share is None or 0 <= share <= 1, "data.unconditional", "from 0 to 1", share)
        expect_setting(1 <= self.reduce <= _MOST_REDUCED, "data.reduce", f"from 1 to {_MOST_REDUCED}", self.reduce)
        expect_setting(
            all(0 <= weight < float("inf") for weight in self.class_weights.values()),
            "data.class_weights",
            "a finite number from 0 for each class",
            self.class_weights,
        )
        expect_setting(
            0 <= self.workers <= _MOST_WORKERS, "data.workers", f"from 0 to {_MOST_WORKERS}", self.workers
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentConfig:
    """The autoencoder and what the network sees of its latents.

    Attributes:
        autoencoder: `linear`, a folder, or a hub id; of latents that are encoded already, theirs.
        space: `default` (whitened), `paper` (z/50) or `fork`; see `training.latents.latent_space`.
    """

    autoencoder: str = "linear"
    space: Literal["default", "paper", "fork"] = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How long, how exactly and how often.

    Attributes:
        steps: optimizer steps in all.
        seed: of everything that is random.
        accumulate: forward passes that make up one step of `diffusion.batch_size` samples.
        precision: `bf16` computes in bfloat16 with weights in float32; `fp32`.
        compile: compile the network block by block with torch.compile.
        compile_mode: of torch.compile: `default`; `reduce-overhead`, which replays CUDA graphs and pays off with
            small batches; `max-autotune`, which tries several kernels for each block, with CUDA graphs or without.
        compress_gradients: let GPUs exchange gradients in bfloat16, which halves the traffic between machines.
        channels_last: keep images with channels innermost, which convolutions of a GPU prefer.
        log_every: steps between lines of metrics.jsonl are gathered on the device and written this often.
        checkpoint_every: steps between checkpoints; the last step always has one.
        keep_checkpoints: how many of the newest stay.
        validate_every: steps between validations; 0 for none.
        validation_samples: samples of the fixed validation set.
        preview_every: steps between previews; 0 for none.
        preview_samples: masks in a preview.
        preview_steps: sampling steps of a preview.
        boards: where numbers and previews are shown, too: `tensorboard`, `wandb`, `mlflow`.
        most_skipped: steps with a loss or gradient that is not finite, one after another, that end a run.
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
    most_skipped: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every", "checkpoint_every", "keep_checkpoints", "most_skipped"):
            expect_setting(getattr(self, name) >= 1, f"run.{name}", "at least 1", getattr(self, name))
        expect_setting(self.steps <= _MOST_STEPS, "run.steps", f"at most {_MOST_STEPS:,}", self.steps)
        for name in ("validate_every", "preview_every"):
            expect_setting(getattr(self, name) >= 0, f"run.{name}", "at least 0", getattr(self, name))
        for name in ("validation_samples", "preview_samples", "preview_steps"):
            expect_setting(getattr(self, name) >= 1, f"run.{name}", "at least 1", getattr(self, name))
        known = ", ".join(BOARDS)
        expect_setting(
            set(self.boards) <= set(BOARDS), "run.boards", f"a list of names from {known}", list(self.boards)
        )
        expect_setting(  # gradients of the first part would lie in memory that a graph writes again
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
            self.diffusion.batch_size % self.run.accumulate == 0,
            "diffusion.batch_size",
            f"a multiple of run.accumulate = {self.run.accumulate}",
            self.diffusion.batch_size,
        )

    def to_yaml(self) -> str:
        """The configuration as a file that `read_config` reads back equal."""
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False, width=100)


MEANING = frozenset(
    {
        *(f"model.{entry.name}" for entry in fields(ModelConfig) if entry.name not in ("dropout", "attention")),
        *(f"diffusion.{name}" for name in ("prediction", "schedule", "timesteps", "zero_terminal_snr")),
        *("data.binarise", "data.reduce", "latents.space"),
    }
)
"""Settings by which weights mean what they do: with others, a network answers another question than it learnt."""


def flatten(config: TrainConfig) -> dict[str, Any]:
    """All settings, by `section.key`."""
    return {
        f"{section}.{key}": value for section, values in asdict(config).items() for key, value in values.items()
    }


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "fork": {
        "model": {"class_conditioning": "histogram", "null": "zero_mask"},
        "diffusion": {
            "prediction": "epsilon",
            "min_snr_gamma": None,
            "null_probability": 0.1,
            "sampling_timesteps": 250,
        },
        "latents": {"space": "fork"},
        "optimizer": {"name": "adam", "schedule": "onecycle", "weight_decay": 0.0},
        "ema": {"kind": "exponential", "decay": 0.995, "every": 10},
    },
    "paper": {
        "model": {"class_conditioning": "max", "null": "zero_mask"},
        "diffusion": {
            "prediction": "epsilon",
            "min_snr_gamma": None,
            "null_probability": 0.1,
            "sampling_timesteps": 250,
        },
        "latents": {"space": "paper"},
        "optimizer": {"name": "adam", "schedule": "onecycle", "weight_decay": 0.0},
        "ema": {"kind": "exponential", "decay": 0.995, "every": 10},
        "data": {"binarise": True},
    },
}
"""What `preset:` in a file, or `--set preset=NAME`, puts below all other settings."""


def read_config(
    path: str | Path | None = None,
    settings: Sequence[str] = (),
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> TrainConfig:
    """The configuration of a run: `defaults`, then the preset, then the file, then single settings.

    Args:
        path: YAML file; None for no file.
        settings: `section.key=value`, or `preset=NAME`; values are YAML.
        defaults: values by section that stand below everything else.

    Raises:
        HistodsError: the file cannot be read, or a key or value is wrong.
    """
    document = {} if path is None else _load(Path(path))
    for setting in settings:
        _apply(document, setting)
    preset = document.pop("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise HistodsError(
            f"There is no preset {preset!r} among {', '.join(PRESETS)}{_nearest(str(preset), PRESETS)}"
        )
    made: TrainConfig = _make(TrainConfig, merge(merge(defaults or {}, PRESETS[preset]), document), "")
    return made


def _load(path: Path) -> dict[str, Any]:
    """A file of sections, read as strictly as a label map: no key twice, no tags, no second document."""
    origin = Origin(str(path))
    document = _values(load_yaml(origin, path))
    if not isinstance(document, dict):
        raise origin.error("sections such as 'model:'", f"{document!r:.60}", "correct it")
    return document


def _values(value: Value) -> Any:
    """What strict reading leaves as text (0.1, true, null) as the values that YAML means by it."""
    if isinstance(value, OddScalar):
        return yaml.safe_load(value.text)
    if isinstance(value, dict):
        return {str(_values(key)): _values(inner) for key, inner in value.items()}
    return [_values(inner) for inner in value] if isinstance(value, list) else value


def _apply(document: dict[str, Any], setting: str) -> None:
    """Put one `section.key=value` into a document."""
    name, equals, value = setting.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise HistodsError(f"--set {setting!r} is not section.key=value; give, for example, --set run.steps=1000.")
    place = document
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise HistodsError(
                f"--set {setting} needs a section {key!r}, but {key!r} is {inner!r}; correct one of them."
            )
        place = inner
    try:
        place[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise HistodsError(f"--set {setting} has the value {value!r}, which is not YAML; quote it.") from error


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both documents in one; where both have a value, that of `above`."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and value is None:  # a section without keys, as `model:` alone
            continue
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _make(kind: Any, document: Any, where: str) -> Any:
    """A dataclass from a mapping, every value checked against its field's type."""
    if not isinstance(document, dict):
        raise wrong_setting(where, "a section with keys", f"{document!r:.60}")
    hints = typing.get_type_hints(kind)
    known = {entry.name for entry in fields(kind)}
    values = {}
    for key, value in document.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in known:
            raise HistodsError(f"There is no setting {name!r}{_nearest(str(key), known)}")
        hint = hints[key]
        values[key] = (
            _make(hint, {} if value is None else value, name) if is_dataclass(hint) else _parse(hint, value, name)
        )
    return kind(**values)


def _parse(hint: Any, value: Any, name: str) -> Any:
    """A value as the type that its field has; the common slips of YAML (1e-4 is text) are read as meant."""
    options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if get_origin(option) is dict and isinstance(value, dict):
            kind = get_args(option)[1]
            return {str(key): _parse(kind, inner, f"{name}.{key}") for key, inner in value.items()}
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_parse(get_args(option)[0], inner, name) for inner in value)
        if _fits(option, value):
            return _number(value, name) if option is float else value
    raise wrong_setting(name, _describe(options), repr(value))


def _fits(option: Any, value: Any) -> bool:
    """Whether a value is one of a type, or can be read as one."""
    if get_origin(option) is Literal:
        return value in get_args(option)
    if option is float and isinstance(value, str):
        return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+", value) is not None
    kinds: dict[Any, Any] = {bool: bool, int: int, float: (int, float), str: str, type(None): type(None)}
    return isinstance(value, kinds.get(option, ())) and (option is bool or not isinstance(value, bool))


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise wrong_setting(name, "a number below 1e308", "too large") from error


def _describe(options: Sequence[Any]) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    named = [
        _listed(list(map(str, get_args(option))))
        if get_origin(option) is Literal
        else "a list"
        if get_origin(option) is tuple
        else "a section"
        if get_origin(option) is dict
        else words[option]
        for option in options
    ]
    return " or ".join(named)


def _listed(names: list[str]) -> str:
    """Names as in `a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _nearest(found: str, known: Any) -> str:
    near = difflib.get_close_matches(found, sorted(known), n=1, cutoff=0.0)
    return f"; did you mean {near[0]!r}?" if near else "; see the README."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def with_classes(config: TrainConfig, classes: Sequence[str], source: str) -> TrainConfig:
    """The configuration with the number of classes of the data.

    Raises:
        HistodsError: the configuration says another number.
    """
    given = config.model.num_classes
    if given is not None and given != len(classes):
        raise HistodsError(
            f"model.num_classes is {given}, but the label map in {source} has {len(classes)} classes; "
            f"set model.num_classes={len(classes)}, or run 'histods shard --map' with another map."
        )
    return replace(config, model=replace(config.model, num_classes=len(classes)))
