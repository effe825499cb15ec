"""import: make a run from a published checkpoint of DiffInfinite's trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from histods.errors import HistodsError
from histods.io.atomic import file_digest, only_one, write_json
from histods.io.workspace import read_json
from histods.labels.label_map_file import find_label_map, read_label_map
from histods.records import silent
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.config.load import read_config
from training.config.model import LATENT_FACTOR
from training.exchange.diffinfinite import Published, check_weights, find_schedule, find_shape, read_published
from training.latents.latent_space import LatentSpace
from training.runs.checkpoint import State, Weights, save_checkpoint, write_run

if TYPE_CHECKING:
    from histods.records import Progress
    from training.autoencoders.base import Autoencoder
    from training.config.sections import TrainConfig

_RECORD = "import.json"
_OWN_AUTOENCODER = "autoencoder"  # folder of the linear autoencoder in a run
Preset = Literal["fork", "paper"]


def import_checkpoint(
    checkpoint: str | Path,
    *,
    out: str | Path,
    weights: Weights = "ema",
    autoencoder: str | None = None,
    preset: Preset = "fork",
    config: str | Path | None = None,
    map: str | Path | None = None,  # noqa: A002 - named like the command's option
    progress: Progress | None = None,
) -> Path:
    """Make a run from a published checkpoint, for use with `load_model` and `sample`.

    The settings follow from the shapes of the weights and from the schedule; the others come from `config` or else
    from the preset. The null condition is an all-zero mask, and the network predicts noise.

    Args:
        checkpoint: a file of `torch.save`; no code in it is run.
        out: folder of the run: a new one, or one with the same import, which then continues.
        weights: the weights to sample with: `ema` (averaged) or `model` (as the optimizer left them).
        autoencoder: folder or hub id of the autoencoder that made the latents. Without it the run cannot make
            images until it is given with the same `out`.
        preset: `fork` weights classes by their pixels and normalises latents to 2 (0.18215 z) - 1; `paper` uses
            only the largest class and normalises to z / 50.
        config: configuration file (YAML) of the reference that belongs to the checkpoint.
        map: label map with the names of the classes.
        progress: called with the current stage.

    Returns:
        The folder of the run.

    Raises:
        HistodsError: the file is damaged or holds something else, options contradict it, or the folder is in use.
    """
    report = progress or silent
    source, folder = Path(checkpoint), Path(out)
    _expect(weights in ("ema", "model"), "--weights", "ema or model", weights)
    _expect(preset in ("fork", "paper"), "--preset", "fork or paper", preset)
    _check_place(folder)
    published = read_published(source, report)
    if weights not in published.weights:
        there = " and ".join(published.weights) or "none"
        raise HistodsError(
            f"{source} has no weights {weights!r} of a U-Net (it has {there}); choose others with "
            "--weights, or give a checkpoint of DiffInfinite's trainer."
        )
    resolved = _resolve(published, weights, preset, config)
    names, map_digest = _classes(resolved, map)
    vae = None if autoencoder is None else _load_autoencoder(autoencoder, resolved)
    # Both names refer to the requested weights, since samples are made with those called ema.
    taken: dict[str, Weights] = {"ema": weights, "model": "model" if "model" in published.weights else weights}
    parts = {name: check_weights(published.weights[part], resolved.model, source) for name, part in taken.items()}
    report("hashing the checkpoint", 0, 0)
    record = {"schema_version": 1, "checkpoint": source.name, "digest": file_digest(source), "weights": weights}
    with only_one(folder, "imports"):
        report("writing the run", 0, 0)
        _claim(folder, record)
        described = {"name": "", "digest": ""} if vae is None else _keep(vae, folder)
        latents = replace(resolved.latents, autoencoder=described["name"] or resolved.latents.autoencoder)
        state = State(
            step=published.step,
            position=0,
            index_digest="",
            classes=names,
            map_digest=map_digest,
            autoencoder=described,
            latent_space=LatentSpace.preset(latents.space).to_json(),
        )
        settings = replace(resolved, latents=latents)
        write_run(folder, settings)
        save_checkpoint(folder, state, parts, config=settings)
    return folder


def _expect(fits: bool, name: str, condition: str, found: object) -> None:
    if not fits:
        raise HistodsError(f"{name} is {found}; it must be {condition}: choose one.")


def _check_place(folder: Path) -> None:
    """Reject a folder that is in use, before reading anything."""
    if folder.is_dir() and not (folder / _RECORD).is_file():
        used = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        _expect_new(folder, f"already holds {used[0]}" if used else "")
    elif folder.exists() and not folder.is_dir():
        _expect_new(folder, "is a file")


def _expect_new(folder: Path, found: str) -> None:
    if found:
        raise HistodsError(f"{folder} {found}; choose a new folder with --out.")


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Record in the folder what is imported into it; only the same import may continue there."""
    path = folder / _RECORD
    if path.is_file() and (other := read_json(path)) != record:
        _expect_new(folder, f"already holds the import of {other.get('checkpoint')} ({other.get('weights')})")
    write_json(path, record)


def _resolve(published: Published, weights: Weights, preset: Preset, config: str | Path | None) -> TrainConfig:
    """The configuration that follows from weights and schedule; the rest comes from the file and the preset."""
    means = {
        "model": find_shape(published.weights[weights], published.path),
        "diffusion": find_schedule(published),
    }
    resolved = read_config(config, [f"preset={preset}"], defaults=means)
    for section, values in means.items():
        for key, value in values.items():
            given = getattr(getattr(resolved, section), key)
            if given != value:
                raise HistodsError(
                    f"{config} sets {section}.{key} to {_plain(given)}, but it is {_plain(value)} in "
                    f"{published.path}; give the configuration that belongs to the checkpoint."
                )
    return resolved


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _classes(config: TrainConfig, label_map: str | Path | None) -> tuple[tuple[str, ...], str]:
    """Names of the classes and the digest of their label map; without one, numbers and no digest."""
    count = config.model.num_classes or 0
    if label_map is None:
        return tuple(f"class {number}" for number in range(count)), ""
    found = read_label_map(find_label_map(label_map))
    if len(found.classes) != count:
        raise HistodsError(
            f"{label_map} has {len(found.classes)} classes, but the checkpoint has {count}; "
            "give the map that it was trained with."
        )
    return found.classes, found.digest


def _load_autoencoder(name: str, config: TrainConfig) -> Autoencoder:
    """Load the autoencoder that made the latents, by a name that works from any directory."""
    found = load_autoencoder(str(Path(name).resolve()) if Path(name).is_dir() else name)
    if (found.channels, found.factor) != (config.model.channels, LATENT_FACTOR):
        raise HistodsError(
            f"The autoencoder {name} has {found.channels} channels for {found.factor}x{found.factor} pixels, but "
            f"the checkpoint needs {config.model.channels} for {LATENT_FACTOR}x{LATENT_FACTOR}; give the one with "
            "which it was trained."
        )
    return found


def _keep(autoencoder: Autoencoder, folder: Path) -> dict[str, str]:
    """Name and digest of the autoencoder; the linear one, which is small, is copied into the run."""
    if not isinstance(autoencoder, LinearAutoencoder):
        return {"name": autoencoder.name, "digest": autoencoder.digest}
    autoencoder.save(folder / _OWN_AUTOENCODER)
    return {"name": _OWN_AUTOENCODER, "digest": autoencoder.digest}
