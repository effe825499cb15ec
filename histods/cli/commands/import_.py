"""histods import: its options, and how its result is shown."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next
from histods.cli.options import DebugOption, JsonOption, QuietOption, WeightsName, WeightsOption

if TYPE_CHECKING:
    from rich.console import Console

    from histods.cli.progress import Watch
    from training.runs.checkpoint import Run


class PresetName(StrEnum):
    """Whose conventions a checkpoint follows."""

    fork = "fork"
    paper = "paper"


EXAMPLE = "histods import model-12.pt --out published --autoencoder sd-vae/"


def import_(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="File of DiffInfinite's trainer; nothing in it is run.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", "--output", help="Folder of the run that is made.")],
    weights: WeightsOption = WeightsName.ema,
    autoencoder: Annotated[
        str | None, typer.Option(help="Autoencoder of the latents: a folder or a hub id; images need it.")
    ] = None,
    preset: Annotated[
        PresetName, typer.Option(help="fork: classes by their pixels; paper: the largest class, latents / 50.")
    ] = PresetName.fork,
    config: Annotated[Path | None, typer.Option(help="The YAML file that belongs to the checkpoint.")] = None,
    label_map: Annotated[
        Path | None, typer.Option("--map", help="Label map with the names of the classes.")
    ] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Make a run of a published checkpoint, to sample from or to export; import-data reads annotations."""
    from training.exchange.import_diffinfinite import import_checkpoint
    from training.runs.checkpoint import read_run

    def call(watch: Watch) -> Run:
        folder = import_checkpoint(
            checkpoint,
            out=out,
            weights=weights.value,
            autoencoder=autoencoder,
            preset=preset.value,
            config=config,
            map=label_map,
            progress=watch,
        )
        return read_run(folder)

    run_command(call, show_import, to_document, quiet=quiet, json_output=json_output)


def show_import(console: Console, run: Run) -> None:
    """Print what the checkpoint is, and what to do with it."""
    model, diffusion, autoencoder = run.config.model, run.config.diffusion, run.state.autoencoder
    print_table(
        console,
        "Imported",
        ["", "value"],
        [
            ["training steps", f"{run.step:,}"],
            ["parameters", f"{_parameters(run):,}"],
            ["network", f"dim {model.dim}, dim_mults {list(model.dim_mults)}, {model.num_classes} classes"],
            [
                "diffusion",
                f"{diffusion.timesteps:,} levels, {diffusion.schedule}, predicts {diffusion.prediction}",
            ],
            ["latent space", run.config.latents.space],
            ["autoencoder", autoencoder["name"] or "none"],
        ],
    )
    print_line(console, f"Written: {run.folder}")
    if autoencoder["name"]:
        print_next(console, f"histods sample --run {shlex.quote(str(run.folder))} --masks MASKS --reference")
    else:
        print_line(console, "Images need the autoencoder: the same command again with --autoencoder adds it.")


def _parameters(run: Run) -> int:
    import torch

    from training.model.unet import UNet

    with torch.device("meta"):
        return sum(weight.numel() for weight in UNet(run.config.model).parameters())


def to_document(run: Run) -> dict[str, Any]:
    """The result for `--json`."""
    from dataclasses import asdict

    return {
        "folder": run.folder.as_posix(),
        "step": run.step,
        "parameters": _parameters(run),
        "classes": list(run.classes),
        "autoencoder": run.state.autoencoder,
        "latent_space": run.state.latent_space,
        "config": asdict(run.config),
    }
