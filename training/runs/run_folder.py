"""Paths in the folder of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def preview_path(folder: Path, step: int) -> Path:
    """The preview of a step."""
    return folder / "samples" / f"step-{step:08d}.png"
