"""histods export: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    RunOption,
    WeightsName,
    WeightsOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "histods export --run default --out for-others"


def export(
    run: RunOption = "default",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", "--output", help="Folder to write; in 'exports' of the workspace by default."),
    ] = None,
    weights: WeightsOption = WeightsName.ema,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Write a run in the layout of diffusers, with a README; export-data writes images and masks."""
    from training.exchange.export_diffusers import export as run_export

    run_command(
        lambda watch: run_export(run, out=out, workspace=workspace, weights=weights.value, progress=watch),
        lambda results, folder: show_export(results, to_document(folder)),
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_export(console: Console, document: dict[str, Any]) -> None:
    """Print what was written and what loads it."""
    print_table(
        console,
        f"Export of {document['run']}, step {document['step']:,} ({document['weights']})",
        ["part", "loads with"],
        [[f"{name}/", loads] for name, loads in document["parts"].items()],
    )
    print_line(console, f"Written: {document['folder']} (how to use it: README.md)")


def to_document(folder: Path) -> dict[str, Any]:
    """The result for `--json`."""
    from training.exchange.export_diffusers import read_export

    about = read_export(folder)
    kind = about["autoencoder"]["kind"]
    parts = {"scheduler": "diffusers: DDIMScheduler", "unet": "histods: training.model.unet.UNet"}
    if kind is not None:
        linear = "histods: training.autoencoders.base.load_autoencoder"
        parts["vae"] = linear if kind == "linear" else f"diffusers: {kind}"
    return {"folder": folder.as_posix(), "parts": parts, **about}
