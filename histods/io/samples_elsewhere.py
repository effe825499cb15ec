"""Where `histods sample --out` put images outside the workspace, so that the report finds their contact sheets.

One small file for each folder, `samples-elsewhere/DIGEST.json`, so that calls at the same time do not meet. It is
ASCII, since JSON escapes a name of bytes that are no UTF-8, which UTF-8 itself cannot hold.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.io.atomic import write_text
from histods.io.checked import is_path
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from histods.io.workspace import Workspace


def note_place(space: Workspace, run: Path, folder: Path) -> None:
    """Note where images of one of the workspace's runs are, unless the report looks there anyway.

    Args:
        space: the workspace.
        run: folder of the run; nothing is noted for one of elsewhere, which the report does not show.
        folder: folder of the images.

    Raises:
        OSError: the workspace cannot be written.
    """
    place = folder.resolve()
    inside = (space.folder / "samples", space.evaluations)
    if run.resolve().parent != space.runs.resolve() or any(place.is_relative_to(one.resolve()) for one in inside):
        return
    name = hashlib.sha256(str(place).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    write_text(space.samples_elsewhere / f"{name}.json", json.dumps({"folder": str(place)}, indent=2) + "\n")


def read_places(space: Workspace, problems: list[str]) -> list[Path]:
    """The folders that were noted, whether they are still there or not; damaged notes are added to `problems`."""
    places = []
    for path in sorted(space.samples_elsewhere.glob("*.json")):
        try:
            folder = read_json(path).get("folder")
        except HistodsError as error:
            problems.append(str(error))
            continue
        if isinstance(folder, str) and is_path(folder):
            places.append(Path(folder))
        else:
            problems.append(f"{path} names no folder of samples; remove it.")
    return places
