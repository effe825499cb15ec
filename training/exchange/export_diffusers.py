"""export: write a run as a folder in the layout of diffusers, to share it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from histods.errors import HistodsError
from histods.io.atomic import only_one, replacing, write_json, write_text
from histods.io.workspace import Workspace, read_json
from histods.records import silent
from training.autoencoders.base import DiffusersAutoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.config.sections import DiffusionConfig, Prediction
from training.diffusion.process import NOISE_SCHEDULES, NoiseSchedule, find_schedule, recognise_schedule
from training.exchange.export_readme import write_guide
from training.runs.checkpoint import Run, Weights, load_model, read_run

if TYPE_CHECKING:
    from histods.records import Progress
    from training.autoencoders.base import Autoencoder

_ABOUT = "histods.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
"""The file name that diffusers gives to the weights of a part."""
_PREDICTIONS: dict[Prediction, str] = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
_FLOW = "FlowMatchEulerDiscreteScheduler"


def export(
    run: str | Path = "default",
    *,
    out: str | Path | None = None,
    workspace: str | Path | None = None,
    weights: Weights = "ema",
    progress: Progress | None = None,
) -> Path:
    """Write a run as `scheduler/` and `vae/`, which diffusers loads, and `unet/`, with a README on how to use it.

    Args:
        run: a run's folder, one of its checkpoints, or its name among the workspace's runs.
        out: folder to write: a new one, or one with the same export; by default in `exports` of the workspace.
        workspace: folder of `runs` and `exports`.
        weights: `ema` (averaged), or `model` (as the optimizer left them).
        progress: called with the current stage.

    Returns:
        The folder.

    Raises:
        HistodsError: the run does not exist or is damaged, its autoencoder cannot be loaded, diffusers has no
            scheduler for it, or the folder is in use.
    """
    report = progress or silent
    space = Workspace.find(workspace)
    read = read_run(run, space.runs)
    read.expect("images", "--run")
    folder = space.folder / "exports" / f"{read.folder.name}-{read.checkpoint.name}" if out is None else Path(out)
    _check_place(space, folder)
    scheduler = scheduler_config(read)
    report("reading the run", 0, 0)
    model = load_model(read, weights=weights, device="cpu")
    autoencoder = read.load_autoencoder() if read.state.autoencoder["name"] else None
    about = _about(read, weights, autoencoder)
    with only_one(folder, "exports"):
        report("writing the export", 0, 0)
        _claim(folder, about)
        write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
        settings = {"_class_name": "UNet", "_module": "training.model.unet", **asdict(read.config.model)}
        write_json(folder / "unet" / "config.json", settings)
        with replacing(folder / "unet" / WEIGHTS_FILE) as temporary:
            save_file(model.state_dict(), temporary, metadata={"format": "pt"})
        if autoencoder is not None:
            _write_autoencoder(autoencoder, folder / "vae")
        write_text(folder / "README.md", write_guide(read, about["autoencoder"]["kind"]))  # last: marks completion
    return folder


def read_export(folder: Path) -> dict[str, Any]:
    """Read `histods.json` of an export.

    Raises:
        HistodsError: the folder does not hold an export.
    """
    return read_json(folder / _ABOUT)


def scheduler_config(run: Run) -> dict[str, Any]:
    """Settings of diffusers' scheduler for the noise schedule and sampling steps of a run.

    That is `DDIMScheduler`, or for rectified flows `FlowMatchEulerDiscreteScheduler`, whose Euler steps are those
    of DDIM: x' = signal' x0 + noise' e = x + (t' - t) (e - x0).

    Raises:
        HistodsError: diffusers has no scheduler that takes the same steps.
    """
    diffusion, clip = run.config.diffusion, run.space.clip
    schedule = find_schedule(diffusion.schedule)
    if diffusion.schedule == "rectified_flow" and diffusion.prediction == "flow" and clip is None:
        return {"_class_name": _FLOW, "num_train_timesteps": diffusion.timesteps, "shift": 1.0}
    if not isinstance(schedule, NoiseSchedule) or diffusion.prediction == "flow":
        clipped = "" if clip is None else f", clipped to +-{clip:g}"
        raise HistodsError(
            f"{run.folder} predicts {diffusion.prediction} on the schedule {diffusion.schedule}{clipped}, for "
            "which diffusers has no scheduler: sample with 'histods sample'."
        )
    own = schedule.diffusers_name is None
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": diffusion.timesteps,
        "beta_schedule": schedule.diffusers_name or "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "trained_betas": schedule.betas(diffusion.timesteps).tolist() if own else None,
        "rescale_betas_zero_snr": diffusion.zero_terminal_snr,
        "prediction_type": _PREDICTIONS[diffusion.prediction],
        "clip_sample": clip is not None,
        "clip_sample_range": 1.0 if clip is None else clip,
        "thresholding": False,
        "set_alpha_to_one": True,  # the last step ends where there is no noise
        "timestep_spacing": "trailing",  # the first step begins at the last level
        "steps_offset": 0,
    }


def read_scheduler(folder: Path) -> DiffusionConfig:
    """The noise schedule and the prediction of an export.

    Raises:
        HistodsError: the settings of its scheduler differ from those that `export` writes.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    document = read_json(path)
    try:
        if document.get("_class_name") == _FLOW:
            return DiffusionConfig(
                timesteps=document["num_train_timesteps"],
                sampling_timesteps=1,
                schedule="rectified_flow",
                prediction="flow",
            )
        return DiffusionConfig(
            timesteps=document["num_train_timesteps"],
            sampling_timesteps=1,
            schedule=_schedule_of(document),
            zero_terminal_snr=document["rescale_betas_zero_snr"],
            prediction={theirs: ours for ours, theirs in _PREDICTIONS.items()}[document["prediction_type"]],
        )
    except (KeyError, TypeError) as error:
        raise HistodsError(
            f"{path} differs from what 'histods export' writes ({error}): export the run again."
        ) from error


def _schedule_of(document: dict[str, Any]) -> str:
    """The name in histods of the noise schedule of an export's scheduler."""
    if document["trained_betas"] is not None:
        name = recognise_schedule(torch.tensor(document["trained_betas"], dtype=torch.float64))
        if name is None:
            raise KeyError("trained_betas")
        return name
    theirs = {
        schedule.diffusers_name: name
        for name, schedule in NOISE_SCHEDULES.items()
        if isinstance(schedule, NoiseSchedule)
    }
    return theirs[document["beta_schedule"]]


def _about(run: Run, weights: Weights, autoencoder: Autoencoder | None) -> dict[str, Any]:
    """The facts that no other file of the export holds."""
    files = read_json(run.checkpoint / "state.json").get("files", {})
    diffusion = run.config.diffusion
    return {
        "schema_version": 1,
        "run": run.folder.name,
        "step": run.step,
        "weights": weights,
        "weights_digest": files.get(f"{weights}.safetensors", ""),
        "classes": list(run.classes),
        "map_digest": run.state.map_digest,
        "autoencoder": {"kind": _kind(autoencoder), "digest": run.state.autoencoder["digest"]},
        "latent_space": run.state.latent_space,
        "guidance_scale": diffusion.guidance_scale,
        "sampling_timesteps": diffusion.sampling_timesteps,
    }


def _kind(autoencoder: Autoencoder | None) -> str | None:
    """`linear`, the name of a diffusers class, or None."""
    if isinstance(autoencoder, DiffusersAutoencoder):
        return type(autoencoder.module).__name__
    return None if autoencoder is None else autoencoder.name


def _check_place(space: Workspace, folder: Path) -> None:
    """Reject a folder that is in use, or that holds the dataset."""
    if folder.exists() and not folder.is_dir():
        _refuse(folder, "is a file")
    if folder.is_dir() and not (folder / _ABOUT).is_file():
        used = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        if used:
            _refuse(folder, f"already holds {used[0]}")
    if space.audit.is_file():
        space.check_place(folder, "--out", Path(str(read_json(space.audit).get("root"))))


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Record in the folder what is exported into it; only the same export may continue there."""
    path = folder / _ABOUT
    if path.is_file() and (other := read_export(folder)) != about:
        _refuse(
            folder,
            f"already holds the export of {other.get('run')}, step {other.get('step')} ({other.get('weights')})",
        )
    write_json(path, about)


def _refuse(folder: Path, found: str) -> None:
    raise HistodsError(f"{folder} {found}; choose a new folder with --out.")


def _write_autoencoder(autoencoder: Autoencoder, folder: Path) -> None:
    """Write the weights and settings of an autoencoder, each file atomically."""
    making = folder.with_name(".vae.part")
    shutil.rmtree(making, ignore_errors=True)
    try:
        if isinstance(autoencoder, DiffusersAutoencoder):
            autoencoder.module.save_pretrained(making)
            settings = read_json(making / "config.json")
            settings.pop("_name_or_path", None)  # a path of this machine
            write_json(making / "config.json", settings)
        elif isinstance(autoencoder, LinearAutoencoder):
            autoencoder.save(making)
        folder.mkdir(exist_ok=True)
        for path in making.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(making, ignore_errors=True)
