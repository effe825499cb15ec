"""histods sample: its options, and how its result is shown."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import in_workspace, print_next
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
from histods.errors import HistodsError
from histods.io.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

    from training.verbs.sample import SampleResult


class SamplerName(StrEnum):
    """How noise becomes an image."""

    dpm = "dpm"
    ddim = "ddim"
    unipc = "unipc"


class LevelsName(StrEnum):
    """How the noise levels of steps are spaced."""

    time = "time"
    log_snr = "log-snr"


class ImageFormatName(StrEnum):
    """How images are stored."""

    png = "png"
    tiff = "tiff"


GENERATED_MASKS = "Generated masks (--masks generated)"
EXAMPLE = "histods sample --run default --masks masks/ --count 4"


def sample(
    masks: Annotated[
        str,
        typer.Option(
            metavar="MASKS|generated",
            help="A mask, or a folder of masks; they hold class indices. In a folder with images, "
            "masks end in _mask. 'generated' makes masks first, with a run of 'histods train --what masks'.",
        ),
    ],
    run: RunOption = "default",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            "--output",
            help="Folder for images and masks; in 'samples' of the workspace by default.",
        ),
    ] = None,
    label_map: Annotated[
        Path | None, typer.Option("--map", help="Masks hold source labels: this label map makes classes of them.")
    ] = None,
    count: Annotated[
        int, typer.Option(help="Images for each mask; generated masks: how many, with an image each.")
    ] = 1,
    proportions: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE,...",
            rich_help_panel=GENERATED_MASKS,
            help="Shares of the pixels, 'Carcinoma=0.3,Dermis=0.5'. Other classes are free: they share what is "
            "left as in the training masks. NAME=0 excludes a class.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE|WIDTHxHEIGHT",
            rich_help_panel=GENERATED_MASKS,
            help="Pixels, 512 or 4096x2048; the size of the training images by default.",
        ),
    ] = None,
    mask_run: Annotated[
        str | None,
        typer.Option(rich_help_panel=GENERATED_MASKS, help="The run that makes masks; 'masks' by default."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps from noise to image; 25 for dpm and unipc, the run's setting for ddim."),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How strongly the mask counts; 1 is no guidance. The run's setting.")
    ] = None,
    sampler: Annotated[
        SamplerName | None,
        typer.Option(help="dpm: DPM-Solver++(2M), the default; unipc: closer to the exact solution; ddim."),
    ] = None,
    levels: Annotated[
        LevelsName | None,
        typer.Option(help="Spacing of noise levels; time by default; log-snr suits unipc and dpm from 20 steps."),
    ] = None,
    eta: Annotated[float | None, typer.Option(help="ddim: noise added on the way, 0 to 1; 0 by default.")] = None,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help="Sample as DiffInfinite does: ddim, eta 1, one pass per class, large images in random patches.",
        ),
    ] = False,
    interval: Annotated[
        str | None,
        typer.Option(
            "--guidance-interval",
            metavar="LOW:HIGH",
            help="Guide only where the share of noise is between these; 0 is no noise, 1 pure noise, 0:1 all. "
            "Saves time.",
        ),
    ] = None,
    rescale: Annotated[
        float,
        typer.Option(
            "--guidance-rescale", help="Contrast to give back after guidance, 0 (none) to 1 (all); 0.7 is usual."
        ),
    ] = 0.0,
    guide: Annotated[
        str | None,
        typer.Option(
            help="A worse run or an earlier checkpoint, to guide away from it instead of from 'no mask'."
        ),
    ] = None,
    weights: WeightsOption = WeightsName.ema,
    ema_length: Annotated[
        float | None,
        typer.Option(help="Average over another share of the run, 0.02 to 0.25; needs a run with snapshots."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other images.")] = 0,
    batch: Annotated[
        int, typer.Option(help="Images, or windows of larger ones, made at once; less needs less memory.")
    ] = 8,
    image_format: Annotated[
        ImageFormatName, typer.Option("--format", help="tiff: tiled and pyramidal, for large images.")
    ] = ImageFormatName.png,
    keep: Annotated[
        Path | None,
        typer.Option(help="Images, named like the masks, of which only the parts in --change are made anew."),
    ] = None,
    change: Annotated[
        Path | None,
        typer.Option(help="Masks, named like the images of --keep: 0 keeps a pixel, others change it."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; all GPUs of this machine by default.")] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Make images for masks of any size with a trained run, each beside its mask: pairs that audit reads."""
    from training.verbs.sample import sample as run_sample

    run_command(
        lambda watch: run_sample(
            run=run,
            masks=masks,
            workspace=workspace,
            out=out,
            map=label_map,
            count=count,
            steps=steps,
            guidance=guidance,
            sampler=sampler.value if sampler else None,
            levels=levels.value if levels else None,
            eta=eta,
            reference=reference,
            guidance_interval=None if interval is None else parse_interval(interval),
            guidance_rescale=rescale,
            guide=guide,
            weights=weights.value,
            ema_length=ema_length,
            seed=seed,
            batch=batch,
            format=image_format.value,
            keep=keep,
            change=change,
            mask_run=mask_run,
            proportions=proportions,
            size=size,
            device=device,
            progress=watch,
        ),
        show_sample,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def parse_interval(text: str) -> tuple[float, float]:
    """Read `LOW:HIGH`.

    Raises:
        HistodsError: it is something else.
    """
    try:
        low, high = map(float, text.split(":"))
    except ValueError as error:
        raise HistodsError(
            f"--guidance-interval is {text}; it must be two shares of noise, LOW:HIGH, such as 0.2:0.7."
        ) from error
    return low, high


def show_sample(console: Console, result: SampleResult) -> None:
    """Print what was made, of what, and where it is."""
    print_table(
        console,
        "Samples",
        ["", "value"],
        [
            ["run", f"{result.run} at step {result.step:,} ({result.weights})"],
            ["device", result.device],
            ["sampler", str(result.sampling)],
            *(
                [["found by tune", ", ".join(name.replace("_", " ") for name in result.tuned)]]
                if result.tuned
                else []
            ),
            ["masks", result.masks],
            ["images made", result.written],
            ["images there already", result.present],
        ],
    )
    for line in result.warnings:
        print_line(console, f"Note: {line}.")
    if result.passed_over:
        print_line(console, f"{result.passed_over:,} files beside the masks are no masks and were passed over.")
    print_line(console, f"Written: {result.folder} (look at {result.contact_sheet})")
    print_next(console, _next_command(result.run))


def _next_command(run: Path) -> str:
    """Evaluate the run where its workspace has real images to compare with, else export it."""
    space = Workspace(run.parent.parent)
    if run.parent == space.runs and (space.shards / "shards.json").is_file():
        return in_workspace(f"histods evaluate --run {shlex.quote(run.name)}", space.folder)
    return f"histods export --run {shlex.quote(str(run))}"


def to_document(result: SampleResult) -> dict[str, Any]:
    """The result for `--json`."""
    from dataclasses import asdict

    document = asdict(result)
    for name in ("folder", "contact_sheet", "record", "run"):
        document[name] = document[name].as_posix()
    return document
