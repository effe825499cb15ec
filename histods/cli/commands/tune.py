"""histods tune: its options, and how its result is shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import print_next
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    RunOption,
    WorkspaceOption,
)
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.io.tuning_file import Trial, TrialScore
    from training.verbs.tune import TuneResult

EXAMPLE = "histods tune --run default --split val"


def tune(
    run: RunOption = "default",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    data: Annotated[Path | None, typer.Option(help="Folder of shards; the workspace's by default.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Held-out split; by default val, or else half of the slides of test.")
    ] = None,
    count: Annotated[
        int, typer.Option(help="Masks to generate images for; a quarter of them, at least 64, serve the search.")
    ] = 200,
    forwards: Annotated[
        int | None,
        typer.Option(
            help="Passes through the network per image at most: a step takes two with guidance, and one without. "
            "By default as many as an image takes without tuning, such as 50 for 25 steps."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Ways of sampling to try at most.")] = 24,
    segmenter_steps: Annotated[int, typer.Option(help="Training steps of the segmenter.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of sampling, segmenter and draws.")] = 0,
    batch: Annotated[int, typer.Option(help="Images at once; less needs less memory.")] = 8,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU by default where there is one.")] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Find guidance, sampler and steps that suit a run, at no higher cost; 'histods sample' then takes them."""
    from reports.tuning_chart import draw_tuning
    from training.verbs.tune import tune as run_tune

    def show(console: Console, result: TuneResult) -> None:
        picture = draw_tuning(result.document, result.folder)
        show_tuning(console, result)
        print_line(console, f"Written: {result.record} (look at {picture.name})")
        option = "" if workspace == DEFAULT_WORKSPACE else f" -w {shlex.quote(str(workspace))}"
        print_next(console, f"histods evaluate --run {shlex.quote(run)}{option}")

    run_command(
        lambda watch: run_tune(
            run=run,
            workspace=workspace,
            data=data,
            split=split,
            count=count,
            forwards=forwards,
            trials=trials,
            segmenter_steps=segmenter_steps,
            seed=seed,
            batch=batch,
            device=device,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_tuning(console: Console, result: TuneResult) -> None:
    """Print the trials, the best of them, and whether it became the run's setting."""
    found = result.document
    print_line(
        console,
        f"Tuning of {found.run} at step {found.step:,}: {counted(found.images, 'mask')} of "
        f"{counted(found.slides, 'slide')} of the split {found.split}, at most {found.forwards} passes through "
        "the network per image.",
    )
    lengths = any(one.ema_length is not None for one in found.trials)
    columns = ["sampler", "steps", "guidance", "noise", *(["EMA"] if lengths else []), "FD-own", "Dice", ""]
    marks = {0: "untuned", found.best: "best" if found.best else "untuned, best"}
    for title, kind in (
        (f"Search: {found.search_images:,} masks", "search"),
        (f"Final comparison: {found.images:,} masks", "final"),
    ):
        scored = [
            (place, one, score)
            for place, one in enumerate(found.trials)
            if (score := getattr(one, kind)) is not None
        ]
        print_table(
            console,
            title,
            columns,
            [_row(one, score, marks.get(place, ""), lengths=lengths) for place, one, score in scored],
            numbers=range(1, len(columns) - 1),
        )
    print_line(
        console,
        "Best: the least FD-own (distance to real images) among those whose Dice (agreement with their masks) is "
        f"within 0.02 of the best, or of that of real images ({found.real_dice:.3f}), whichever is less.",
    )
    if result.setting is not None:
        print_line(
            console,
            f"Better than without tuning in {found.better:.1%} of the bootstrap draws. Written: {result.setting}; "
            "'histods sample' takes it for this run from now on.",
        )
    else:
        if found.better is None:
            said = "Nothing beats the untuned setting: the run keeps it."
        elif found.few_slides:
            said = (
                f"The best is better than the untuned setting in {found.better:.1%} of the draws of images, but "
                f"{counted(found.slides, 'slide')} do not show that for others: the run keeps the untuned setting."
            )
        else:
            said = (
                f"Nothing beats the untuned setting by more than chance (the best does in {found.better:.1%} of "
                "the draws): the run keeps it."
            )
        print_line(console, said)
        if result.removed is not None:
            print_line(console, f"Removed: {result.removed}, which an earlier tuning had found.")
    for line in found.warnings:
        print_line(console, f"warning: {line}.")


def _row(one: Trial, score: TrialScore, mark: str, *, lengths: bool) -> list[str | int]:
    low, high = one.guidance_interval
    average = ["own" if one.ema_length is None else f"{one.ema_length:g}"] if lengths else []
    return [
        one.sampler if one.levels == "time" else f"{one.sampler}, {one.levels}",
        one.steps,
        f"{one.guidance:g}",
        "none" if one.guidance == 1 else f"{low:g}:{high:g}",
        *average,
        f"{score.frechet:.4g}",
        f"{score.dice:.3f}",
        mark,
    ]


def to_document(result: TuneResult) -> dict[str, Any]:
    """The result for `--json`: `tuning.json`, and where it is."""
    from dataclasses import asdict

    return {
        "folder": result.folder.as_posix(),
        "record": result.record.as_posix(),
        "setting": None if result.setting is None else result.setting.as_posix(),
        "device": result.device,
        "tuning": asdict(result.document),
    }
