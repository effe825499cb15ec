"""The run that guides another one, which must know the same masks and latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.errors import HistodsError
from training.runs.checkpoint import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from training.runs.checkpoint import Run

_NOISE = ("schedule", "timesteps", "zero_terminal_snr")


def read_guide(given: str | Path, runs: Path, run: Run) -> Run:
    """Read the run, or the checkpoint, to guide a run with.

    Args:
        given: a run's folder, one of its checkpoints, or its name in `runs`.
        runs: the workspace's runs.
        run: the run to guide.

    Raises:
        HistodsError: there is no such run, or it differs in what both must have in common.
    """
    guide = read_run(given, runs)
    ours, theirs = run.config, guide.config
    common = {
        "the classes": (list(run.classes), list(guide.classes)),
        "the latent space": (run.space, guide.space),
        "the autoencoder": (run.state.autoencoder["digest"][:12], guide.state.autoencoder["digest"][:12]),
        "the size of images": (ours.model.image_size, theirs.model.image_size),
        "data.reduce": (ours.data.reduce, theirs.data.reduce),
        **{
            f"diffusion.{name}": (getattr(ours.diffusion, name), getattr(theirs.diffusion, name))
            for name in _NOISE
        },
    }
    for name, (own, other) in common.items():
        if own != other:
            shown = f" ({other} instead of {own})" if len(f"{own}{other}") < 200 else ""
            raise HistodsError(
                f"--guide {given} differs from {run.folder} in {name}{shown}; choose an earlier checkpoint of "
                "the run, or a run of a smaller network on the same data."
            )
    if theirs.diffusion.prediction == "epsilon" != ours.diffusion.prediction:
        raise HistodsError(
            f"--guide {given} predicts epsilon, which says nothing about {ours.diffusion.prediction} in almost "
            "pure noise; choose a guide that predicts v or x0."
        )
    if guide.checkpoint.resolve() == run.checkpoint.resolve():
        raise HistodsError(
            f"--guide {given} is the checkpoint to sample from, so both predict the same; choose another one."
        )
    return guide
