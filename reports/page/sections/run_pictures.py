"""The pictures of runs, all within one budget: previews, contact sheets, charts of tunings."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe
from histods.io.samples_elsewhere import read_places
from histods.io.workspace import read_json
from histods.printing import escaped
from reports.page.packing import data_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from histods.io.workspace import Workspace

MAX_PREVIEWS = 12
MAX_SHEETS = 6
MAX_BYTES = 4_000_000
"""Of all previews and contact sheets as texts of the page; those beyond are left out."""
_PREVIEW_SIDE, _SHEET_SIDE = 720, 1400
_MAX_FILE_BYTES = 60_000_000
_MAX_PICTURE_PIXELS = 60_000_000
_SHEET = Path("overview", "contact_sheet.png")
_STEP = re.compile(r"step-(\d{1,12})\.png")


@dataclass(slots=True)
class Budget:
    """Bytes that previews and contact sheets may still take."""

    left: int = MAX_BYTES


def read_previews(folder: Path, budget: Budget, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Previews of a run from the first to the last, evenly chosen."""
    found = sorted(
        (int(match[1]), path) for path in folder.glob("step-*.png") if (match := _STEP.fullmatch(path.name))
    )
    for step, path in evenly(found, MAX_PREVIEWS):
        picture = read_picture(path, _PREVIEW_SIDE, budget, problems)
        if picture is not None:
            yield {"step": step} | picture


def read_sheets(space: Workspace, budget: Budget, problems: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Contact sheets of generated images, the newest ones, and how many older ones there are."""
    samples = space.folder / "samples"
    folders = (*read_places(space, problems), samples, *samples.glob("*"))
    paths = {os.path.realpath(folder): folder / _SHEET for folder in folders}.values()
    found = sorted((-when, path) for path in paths if (when := _written(path)) is not None)
    sheets = []
    for _, path in found[:MAX_SHEETS]:
        picture = read_picture(path, _SHEET_SIDE, budget, problems)
        if picture is None:
            continue
        try:
            recipe = read_json(path.with_name("samples.json")).get("recipe")
        except HistodsError as error:
            problems.append(str(error))
            recipe = None
        facts = recipe if isinstance(recipe, dict) else {}
        sheets.append({"folder": escaped(str(path.parent.parent)), "facts": _facts(facts)} | picture)
    return sheets, max(0, len(found) - MAX_SHEETS)


def _written(path: Path) -> float | None:
    """When a file was written; None if it is not there, or nobody may know."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _facts(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """What is plain in the recipe of a sample: run, sampler, steps, guidance, seed."""
    names = ("run", "step", "sampler", "steps", "guidance", "weights", "seed")
    return [
        (name, escaped(str(recipe[name]))) for name in names if isinstance(recipe.get(name), str | int | float)
    ]


def evenly(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many values, evenly chosen, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def read_picture(path: Path, side: int, budget: Budget, problems: list[str]) -> dict[str, Any] | None:
    """A picture that a run wrote, made smaller; None if the page is full or it is unreadable."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = _decode(path)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, HistodsError) as error:
        problems.append(f"{path} cannot be shown ({error}).")
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=84, optimize=True)
    image = data_uri("image/jpeg", file.getvalue())
    if len(image) > budget.left:
        return None
    budget.left -= len(image)
    return {"image": image, "width": picture.width, "height": picture.height}


def _decode(path: Path) -> Image.Image:
    from PIL import Image

    refuse_pipe(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError("the file is too large")
    with Image.open(path, formats=["PNG"]) as opened:
        if opened.width * opened.height > _MAX_PICTURE_PIXELS:
            raise ValueError("it has too many pixels")
        return opened.convert("RGB")
