"""Training runs: their curves, the previews as time goes by, and images that were made with them."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe
from histods.io.run_files import is_number, list_runs
from histods.io.workspace import read_json
from histods.printing import escaped
from reports.page.packing import data_uri
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from histods.io.run_files import RunSummary
    from reports.page.pictures import Pictures
    from reports.page.source import Source

MAX_RUNS = 8
MAX_POINTS = 800
"""Points of a curve that are drawn; of more, each is the mean of its neighbours."""
MAX_PREVIEWS = 12
MAX_SHEETS = 6
MAX_BYTES = 4_000_000
"""Of all previews and contact sheets as texts of the page; those beyond are left out."""
_PREVIEW_SIDE, _SHEET_SIDE = 720, 1400
_MAX_FILE_BYTES = 60_000_000
_MAX_PICTURE_PIXELS = 60_000_000
_SMOOTHED_OVER = 50
"""Parts into which a curve is cut: the smoothed one forgets what is longer ago than one of them."""
_STEP = re.compile(r"step-(\d{1,12})\.png")


def build(source: Source, _: Pictures) -> Content:
    """Read the metrics and pictures of the newest runs."""
    space = source.space
    if not any(space.runs.glob("*/config.yaml")):
        missing = Missing(reason="There are no training runs yet.", command=f"histods train{space.option}")
        return Content(missing=missing)
    problems: list[str] = []
    found = sorted(list_runs(space), key=lambda one: _changed(space.runs / one.run), reverse=True)
    left_out = max(0, len(found) - MAX_RUNS)
    summaries = sorted(found[:MAX_RUNS], key=lambda one: one.run)
    budget = _Budget()
    runs = [_read_run(space.runs / one.run, one, budget, problems) for one in summaries]
    sheets = list(_read_sheets(space.folder / "samples", budget, problems))
    differ = _settings_that_differ(summaries)
    return Content(
        values={
            "runs": runs,
            "left_out": left_out,
            "sheets": sheets,
            "differ": differ,
            "option": space.option,
            "sample": f"histods sample --masks MASKS{space.option}",
        },
        data={"runs": runs},
        problems=tuple(problems),
    )


@dataclass(slots=True)
class _Budget:
    """Bytes that previews and contact sheets may still take."""

    left: int = MAX_BYTES


def _changed(run: Path) -> float:
    """When a run last wrote a line of its metrics."""
    try:
        return (run / "metrics.jsonl").stat().st_mtime
    except OSError:
        return 0.0


def _read_run(folder: Path, summary: RunSummary, budget: _Budget, problems: list[str]) -> dict[str, Any]:
    """One run: how far it is, its curves and previews."""
    lines = list(_read_metrics(folder / "metrics.jsonl", problems))
    train = [line for line in lines if line.get("kind") == "train"]
    validation = [line for line in lines if line.get("kind") == "validation"]
    loss = _curve(train, "loss")
    return {
        "name": escaped(summary.run),
        "step": summary.step,
        "steps": summary.steps,
        "loss": summary.loss,
        "best": summary.best,
        "best_step": summary.best_step,
        "speed": summary.images_per_second,
        "curves": {
            "loss": thin(loss),
            "smoothed": thin(smooth(loss)),
            "rate": thin(_curve(train, "rate")),
            "model": thin(_curve(validation, "model")),
            "ema": thin(_curve(validation, "ema")),
        },
        "buckets": [thin(curve) for curve in _buckets(validation)],
        "previews": list(_read_previews(folder / "samples", budget, problems)),
    }


def _read_metrics(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Lines of metrics up to the first that is damaged; a killed run leaves half a line at most."""
    if not path.is_file():
        return
    try:
        refuse_pipe(path)
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, HistodsError) as error:
        problems.append(f"{path} cannot be read ({error}).")
        return
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            if number < len(texts):
                problems.append(f"{path} is damaged from line {number:,} on; the curves end before it.")
            return
        if isinstance(line, dict) and is_number(line.get("step")) and isinstance(line["step"], int):
            yield line


def _curve(lines: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Steps and values of a number."""
    return [(line["step"], float(line[name])) for line in lines if is_number(line.get(name))]


def _buckets(validation: Sequence[dict[str, Any]]) -> list[list[tuple[int, float]]]:
    """The validation loss of the averaged weights in each tenth of the noise levels, from little to much noise."""
    curves: list[list[tuple[int, float]]] = []
    for line in validation:
        losses = line.get("ema_buckets")
        if not isinstance(losses, list) or len(losses) > 100:
            continue
        curves += [[] for _ in range(len(losses) - len(curves))]
        for curve, loss in zip(curves, losses, strict=False):
            if is_number(loss):
                curve.append((line["step"], float(loss)))
    return curves


def smooth(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """A curve whose points are exponential averages of what came before, without a bias to the first point."""
    keep = 1 - 1 / max(len(curve) / _SMOOTHED_OVER, 1)
    total = weight = 0.0
    smoothed = []
    for step, value in curve:
        total, weight = keep * total + value, keep * weight + 1
        smoothed.append((step, total / weight))
    return smoothed


def thin(curve: Sequence[tuple[int, float]], points: int = MAX_POINTS) -> list[tuple[int, float]]:
    """At most so many points, each the mean of as many neighbours."""
    width = -(-len(curve) // points) if curve else 1
    parts = (curve[first : first + width] for first in range(0, len(curve), width))
    return [(part[-1][0], math.fsum(value for _, value in part) / len(part)) for part in parts]


def _read_previews(folder: Path, budget: _Budget, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Previews of a run from the first to the last, evenly chosen."""
    found = sorted(
        (int(match[1]), path) for path in folder.glob("step-*.png") if (match := _STEP.fullmatch(path.name))
    )
    for step, path in evenly(found, MAX_PREVIEWS):
        picture = _read_picture(path, _PREVIEW_SIDE, budget, problems)
        if picture is not None:
            yield {"step": step} | picture


def _read_sheets(folder: Path, budget: _Budget, problems: list[str]) -> Iterator[dict[str, Any]]:
    """Contact sheets of generated images, and the run that made them."""
    paths = sorted({*folder.glob("overview/contact_sheet.png"), *folder.glob("*/overview/contact_sheet.png")})
    for path in paths[:MAX_SHEETS]:
        picture = _read_picture(path, _SHEET_SIDE, budget, problems)
        if picture is None:
            continue
        try:
            recipe = read_json(path.with_name("samples.json")).get("recipe")
        except HistodsError as error:
            problems.append(str(error))
            recipe = None
        facts = recipe if isinstance(recipe, dict) else {}
        yield {"folder": escaped(str(path.parent.parent)), "facts": _facts(facts)} | picture


def _facts(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """What is plain in the recipe of a sample: sampler, steps, guidance, seed."""
    names = ("sampler", "steps", "guidance", "weights", "seed")
    return [
        (name, escaped(str(recipe[name]))) for name in names if isinstance(recipe.get(name), str | int | float)
    ]


def evenly(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many values, evenly chosen, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def _read_picture(path: Path, side: int, budget: _Budget, problems: list[str]) -> dict[str, Any] | None:
    """A picture that a run wrote, made smaller; None if the page is full or it is unreadable."""
    from PIL import Image, UnidentifiedImageError

    try:
        refuse_pipe(path)
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("the file is too large")  # noqa: TRY301 - one line for all
        with Image.open(path, formats=["PNG"]) as opened:
            if opened.width * opened.height > _MAX_PICTURE_PIXELS:
                raise ValueError("it has too many pixels")  # noqa: TRY301 - one line for all
            picture = opened.convert("RGB")
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


def _settings_that_differ(runs: Sequence[RunSummary]) -> dict[str, Any] | None:
    """The settings in which several runs differ."""
    keys = sorted({key for run in runs for key in run.settings})
    differ = [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]
    if not differ:
        return None
    rows = [(escaped(key), [escaped(str(run.settings.get(key, "-"))) for run in runs]) for key in differ]
    return {"runs": [escaped(run.run) for run in runs], "rows": rows}


SECTION = Section(name="runs", title="Training runs", build=build)
