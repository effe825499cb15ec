"""histods encode: its options, and how its result is shown."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next_after
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from training.verbs.encode import EncodeResult

EXAMPLE = "histods encode --vae stabilityai/sd-vae-ft-mse"


def encode(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    vae: Annotated[
        str,
        typer.Option(help="Autoencoder: a folder, a hub id, or linear, which is fitted and needs no download."),
    ] = "linear",
    views: Annotated[int, typer.Option(help="8: every image mirrored and turned in all ways. 1: as it is.")] = 8,
    shards: Annotated[
        Path | None, typer.Option(help="Folder of image shards; 'shards' in the workspace by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", "--output", help="Folder for the latents; 'latents' in the workspace by default."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; all GPUs of this machine by default.")] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Write no latents; read every byte of those there and compare."),
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Encode the images of shards into latents, ahead of training: most of a step's work, done once."""
    from training.verbs.encode import encode as run

    def show(results: Console, result: EncodeResult) -> None:
        show_encode(results, result)
        if not verify:
            print_next_after(results, "encode", workspace)

    run_command(
        lambda watch: run(
            workspace=workspace,
            vae=vae,
            views=views,
            shards=shards,
            out=out,
            device=device,
            verify=verify,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_encode(console: Console, result: EncodeResult) -> None:
    """Print what is in a folder of latents."""
    latents = result.latents
    print_table(
        console,
        f"Latents of {latents.map}",
        ["split", "shards", "samples", "MB"],
        [
            [name, shards, samples, f"{size / 1e6:,.1f}"]
            for name, (shards, samples, size) in sorted(latents.splits.items())
        ],
        numbers=[1, 2, 3],
    )
    print_table(
        console,
        f"Channels of {latents.height}x{latents.width} latents",
        ["channel", "mean", "std"],
        [
            [channel, f"{mean:.4f}", f"{std:.4f}"]
            for channel, (mean, std) in enumerate(zip(latents.mean, latents.std, strict=True))
        ],
        numbers=[0, 1, 2],
    )
    made = latents.autoencoder
    views = "8 views" if latents.views == 8 else "1 view"
    print_line(console, f"Autoencoder {made.name} ({made.digest[:12]}); {views} of each image.")
    if result.verified:
        print_line(console, f"Every byte of {latents.folder} was read and is as it was written.")
        return
    there = f", {result.present:,} were there already" if result.present else ""
    print_line(console, f"{result.written:,} shards written{there}: {latents.folder}")


def to_document(result: EncodeResult) -> dict[str, Any]:
    """The result for `--json`."""
    latents = result.latents
    return {
        "folder": latents.folder.as_posix(),
        "map": latents.map,
        "classes": list(latents.classes),
        "autoencoder": asdict(latents.autoencoder),
        "views": latents.views,
        "shape": [latents.channels, latents.height, latents.width],
        "splits": {
            name: {"shards": shards, "samples": samples, "bytes": size}
            for name, (shards, samples, size) in sorted(latents.splits.items())
        },
        "mean": list(latents.mean),
        "std": list(latents.std),
        "written": result.written,
        "present": result.present,
        "verified": result.verified,
    }
