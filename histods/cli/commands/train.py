"""histods train: its options, and how a run is shown."""

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
    JsonOption,
    MapOption,
    QuietOption,
    WeightsName,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from training.config.sections import TrainConfig
    from training.verbs.train import TrainResult


class WhatName(StrEnum):
    """What a network makes."""

    images = "images"
    masks = "masks"


EXAMPLE = "histods train --set run.steps=2000 --name first-try"


def train(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    what: Annotated[
        WhatName | None,
        typer.Option(
            help="images, given their masks (default); masks, given the proportions of classes: see "
            "'histods sample --masks generated'."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the sections model, diffusion, latents, run and others.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting on top; may be repeated."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run: it lives in runs/NAME of the workspace. By default 'default', or 'masks'.",
        ),
    ] = None,
    label_map: MapOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of shards or latents to take as they are; the workspace's by default."),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare/--no-prepare",
            help="Make the split, shards and latents that are missing or out of date, or refuse.",
        ),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on also where settings differ, for example with more steps.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|CHECKPOINT|EXPORT",
            help="Weights that a new run starts from; classes are matched by name, everything else is reset.",
        ),
    ] = None,
    init_weights: Annotated[
        WeightsName, typer.Option("--init-weights", help="ema: averaged; model: as the optimizer left them.")
    ] = WeightsName.ema,
    remake_ends: Annotated[
        bool,
        typer.Option(
            "--remake-ends", help="Re-initialise the first and last layers, for latents of another kind."
        ),
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one by default.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train nothing; show the settings and what they cost.")
    ] = False,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the shapes in the network, and the traceback of an error.")
    ] = False,
) -> None:
    """Train the mask-conditional latent diffusion model, or with --what masks one that makes masks.

    The same command again resumes where it was killed.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m training --workspace histods-out
    """
    from training.verbs.train import train as run

    run_command(
        lambda watch: run(
            workspace=workspace,
            what=what.value if what else None,
            config=config,
            settings=settings or (),
            name=name,
            map=label_map,
            data=data,
            prepare=prepare,
            resume=resume,
            init=init,
            init_weights=init_weights.value,
            remake_ends=remake_ends,
            device=device,
            dry_run=dry_run,
            debug=debug,
            progress=watch,
            say=lambda text: print_line(watch.console, text),
        ),
        show_train,
        train_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_train(console: Console, result: TrainResult) -> None:
    """Print what was chosen, what it costs or how far it came, and where to look."""
    if result.shapes:
        rows = [[name, "x".join(map(str, shape))] for name, shape in result.shapes]
        print_table(console, "Shapes for 4 images", ["tensor", "shape"], rows)
    if result.plan is not None:
        show_settings(console, result.config)
        show_plan(console, result)
        print_line(console, "Next: the same command without --dry-run")
        return
    if result.losses:
        print_table(
            console,
            "Validation loss (averaged weights)",
            ["step", "loss"],
            [[step, "not finite" if loss is None else f"{loss:.4f}"] for step, loss in result.losses[-5:]],
            numbers=[0, 1],
        )
    if result.skipped:
        print_line(console, f"{result.skipped:,} steps were skipped, since their gradients were not finite.")
    again = " already" if result.began == result.step else ""
    print_line(console, f"Step {result.step:,} of {result.config.run.steps:,} is done{again}: {result.folder}")
    from histods.labels.label_map import IDENTITY

    run = shlex.quote(result.folder.name)
    if result.config.data.what == "masks":
        command = "histods sample --masks generated" + ("" if run == "masks" else f" --mask-run {run}")
    else:
        label_map = "" if result.map in (None, IDENTITY) else f" --map {shlex.quote(str(result.map))}"
        command = f"histods sample --run {run} --masks MASKS{label_map}"
    print_next(console, in_workspace(command, result.folder.parent.parent))


def show_settings(console: Console, config: TrainConfig) -> None:
    """Print all settings as `--set` takes them, a section a paragraph."""
    from dataclasses import asdict

    for section, values in asdict(config).items():
        settings = ", ".join(f"{key}={_shown(value)}" for key, value in values.items())
        print_line(console, f"{section}: {settings}")
    print_line(console, "")


def _shown(value: object) -> str:
    """A value as YAML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def show_plan(console: Console, result: TrainResult) -> None:
    """Print what a run would cost."""
    plan = result.plan
    assert plan is not None  # noqa: S101 - the caller looked
    null = f" (and {plan.null_parameters:,} of the null condition)" if plan.null_parameters else ""
    print_table(
        console,
        "What it costs",
        ["", ""],
        [
            ["parameters", f"{plan.parameters:,}{null}"],
            ["arithmetic, an image and step", f"{plan.flops_per_image / 1e9:,.1f} GFLOP"],
            ["memory, each device", f"{plan.memory_bytes / 1e9:,.1f} GB at least"],
            ["matrix rate, measured now", f"{plan.matrix_rate / 1e12:,.2f} TFLOP/s"],
            ["time expected", _hours(plan.seconds)],
            ["images seen", f"{result.config.run.steps * result.config.data.batch_size:,}"],
        ],
    )


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _plain(value: Any) -> Any:
    """Settings without infinity, which JSON has no word for: as YAML writes it, `.inf`."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return ".inf" if value == float("inf") else value


def train_document(result: TrainResult) -> dict[str, Any]:
    """The result for `--json`."""
    from dataclasses import asdict

    return {
        "folder": result.folder.as_posix(),
        "data": None if result.data is None else result.data.as_posix(),
        "splits": list(result.splits),
        "samples": result.samples,
        "map": result.map,
        "validation_split": result.validation_split,
        "held_out": result.held_out,
        "device": result.device,
        "processes": result.processes,
        "config": _plain(asdict(result.config)),
        "latent_space": result.latent_space,
        "plan": None if result.plan is None else asdict(result.plan),
        "parameters": None if result.plan is None else result.plan.parameters,
        "shapes": {name: list(shape) for name, shape in result.shapes},
        "step": result.step,
        "finished": result.finished,
        "skipped": result.skipped,
        "losses": [list(pair) for pair in result.losses],
    }
