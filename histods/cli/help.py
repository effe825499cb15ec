"""What the help says of all commands: the group of each, and one sentence that fits a line of 80 columns."""

from __future__ import annotations

from typing import Any

import typer.core

OTHERS = "To begin"
"""Group of the commands that are in no other."""
PANELS = {
    "Dataset": {
        "audit": "Read every file once and say what is wrong with each.",
        "status": "Show what the workspace has, what is missing, and what to do next.",
        "show": "List the files of a finding, or all that is known of a sample.",
        "remap": "Give every label its class, without reading a pixel again.",
        "plot": "Draw charts of labels and classes as PNG, SVG and CSV.",
        "report": "Write one page of all results, with pictures.",
        "split": "Split into train, validation and test, slide by slide.",
        "fix": "Move the files of a finding away, or repair them, and back.",
        "tile": "Cut images and masks into patches of one size.",
    },
    "Training": {
        "shard": "Copy samples into tar archives that trainers read.",
        "encode": "Encode images into latents, ahead of training.",
        "train": "Train a diffusion model, or resume a run that was killed.",
        "sample": "Make images for masks with a trained network.",
        "tune": "Find guidance, sampler and steps for a run, which sample then takes.",
        "evaluate": "Say how good generated images are, and whether they are copies.",
    },
    "Exchange": {
        "import-data": "Make masks from COCO or GeoJSON (QuPath) annotations.",
        "export-data": "Write images and masks for nnU-Net, YOLO, CVAT or COCO.",
        "describe": "Describe the dataset for catalogues (Croissant).",
        "import": "Make a run of a published DiffInfinite checkpoint.",
        "export": "Write a run in the layout of diffusers.",
    },
    OTHERS: {
        "demo": "Make a small dataset and run everything on it.",
    },
}
"""Groups of commands, with a sentence for each command."""

STATUSES = (
    "Exit status: 0 done; 1 done, but the audit found errors (see --fail-on): samples with errors are set aside, "
    "and the others can be used; 2 the input or the call is wrong; 130 interrupted."
)


class Command(typer.core.TyperCommand):
    """A command whose help names no type for an option that takes no value."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for parameter in self.params:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""


def register(app: typer.Typer, name: str, run: Any, example: str) -> None:
    """Add a command to the command line, in its group and with its sentence."""
    panel = next((panel for panel, commands in PANELS.items() if name in commands), OTHERS)
    summary = PANELS[panel].get(name)
    status = f"\n\n{STATUSES}" if name == "audit" else ""
    app.command(
        name, cls=Command, short_help=summary, epilog=f"Example: {example}{status}", rich_help_panel=panel
    )(run)
