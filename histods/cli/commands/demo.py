"""histods demo: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.audit_report import show_audit
from histods.cli.commands.encode import show_encode
from histods.cli.commands.remap import show_remap
from histods.cli.commands.sample import show_sample
from histods.cli.commands.shard import show_shard
from histods.cli.commands.split import show_split
from histods.cli.commands.train import show_train
from histods.cli.console import print_line, print_table, run_command
from histods.cli.next_step import in_workspace, print_next
from histods.cli.options import DebugOption, JsonOption, QuietOption, WorkersOption

if TYPE_CHECKING:
    from rich.console import Console

    from histods.demo_pipeline import DemoResult, Training


EXAMPLE = "histods demo histods-demo"


def demo(
    folder: Annotated[Path, typer.Argument(help="New folder for the dataset and everything made from it.")] = Path(
        "histods-demo"
    ),
    steps: Annotated[int, typer.Option(help="Steps of training a small network on the CPU.")] = 400,
    workers: WorkersOption = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Make a small synthetic dataset with planted defects, and run everything on it."""
    from histods.demo_pipeline import demo as run

    result = run_command(
        lambda watch: run(folder, steps=steps, workers=workers, progress=watch),
        show_demo,
        demo_document,
        quiet=quiet,
        json_output=json_output,
    )
    if result.missed or result.invented:
        raise typer.Exit(1)


def show_demo(console: Console, result: DemoResult) -> None:
    """Print what every step of the demo found, compare it with what was planted, and say where to look."""
    show_audit(console, result.audit)
    print_line(console, "")
    for remapped in result.remaps:
        show_remap(console, remapped)
        print_line(console, "")
    show_split(console, result.split)
    print_line(console, "")
    show_shard(console, result.shards)
    print_line(console, "")
    if result.training is None:
        print_line(
            console, "PyTorch is not installed, so nothing was trained; run \"pip install 'histods[train]'\"."
        )
    else:
        show_encode(console, result.training.latents)
        print_line(console, "")
        show_train(console, result.training.run)
        print_line(console, "")
        show_sample(console, result.training.samples)
    print_line(console, "")
    verdict = "exactly what was planted" if not (result.missed or result.invented) else "NOT what was planted"
    print_line(console, f"{len(result.planted):,} findings planted, found: {verdict}.")
    for title, findings in (("missed", result.missed), ("invented", result.invented)):
        for code, path in sorted(findings):
            print_line(console, f"{title}: {code} {path}", indent=2)
    print_table(
        console,
        "Where to look",
        ["", ""],
        [
            ["the dataset", f"{result.folder}/dataset"],
            ["what was planted in it", f"{result.folder}/planted.csv"],
            ["what the audit found", f"{result.workspace}/findings.parquet, audit.json"],
            ["one row per sample", f"{result.workspace}/manifest.parquet"],
            ["classes", f"{result.workspace}/remap/"],
            ["all of this on one page", f"{result.report.file}"],
            ["charts", f"{result.plot.files[0].parent}/"],
            ["which split each sample is in", f"{result.workspace}/split.parquet"],
            ["shards", f"{result.shards.folder}/"],
            *_places(result.training),
        ],
    )
    print_next(console, in_workspace("histods status", result.workspace))


def _places(training: Training | None) -> list[list[str]]:
    """Where the trained network and its images are."""
    if training is None:
        return []
    return [
        ["latents", f"{training.latents.latents.folder}/"],
        ["the trained network, its curves", f"{training.run.folder}/"],
        ["images for masks of the test split", f"{training.samples.folder}/"],
        ["these at a glance", f"{training.samples.contact_sheet}"],
    ]


def demo_document(result: DemoResult) -> dict[str, Any]:
    """The demo's outcome for `--json`."""
    return {
        "folder": result.folder.as_posix(),
        "workspace": result.workspace.as_posix(),
        "planted": len(result.planted),
        "missed": sorted(map(list, result.missed)),
        "invented": sorted(map(list, result.invented)),
        "report": result.report.file.as_posix(),
        "charts": len(result.plot.files),
        "splits": {side.name: side.samples for side in result.split.splits},
        "shards": sum(shards for shards, _, _ in result.shards.splits.values()),
        "trained_steps": None if result.training is None else result.training.run.step,
        "samples": None if result.training is None else result.training.samples.folder.as_posix(),
    }
