"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from histods.cli.completion import complete_maps

GENERAL = "Workspace and output"
LAYOUT = "How images and masks pair"
LABELS = "Labels and groups"
READING = "Reading"
"""Panels of options in the help."""

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="HISTODS_WORKSPACE",
        rich_help_panel=GENERAL,
        help="Folder for everything that is written.",
    ),
]
MapOption = Annotated[
    Path | None,
    typer.Option(
        "--map",
        autocompletion=complete_maps,
        help="Label map: a file, a bundled one (label_map_10.yml), or one of the workspace.",
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option(rich_help_panel=GENERAL, help="Worker processes; all usable cores by default.")
]
CountsOption = Annotated[
    Path | None, typer.Option(help="Take this table (Label ID,Class Name,Pixel Count) instead of an audit.")
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=GENERAL, help="Print one JSON document on stdout and nothing else there."
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=GENERAL, help="No tables and no progress.")
]
DebugOption = Annotated[
    bool, typer.Option("--debug", rich_help_panel=GENERAL, help="Show the traceback of an error.")
]
RunOption = Annotated[str, typer.Option(help="Run: a folder, a checkpoint, or a name in the workspace.")]
DEFAULT_WORKSPACE = Path("histods-out")


class EngineName(StrEnum):
    """Who runs the work."""

    local = "local"
    ray = "ray"


class WeightsName(StrEnum):
    """Which weights of a run."""

    ema = "ema"
    model = "model"


WeightsOption = Annotated[WeightsName, typer.Option(help="ema: averaged; model: as trained.")]
