"""Training runs: their curves, previews, tunings, and images that were made with them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.atomic import refuse_pipe
from histods.io.run_files import is_number, list_runs
from histods.printing import escaped
from reports.page.section import Content, Missing, Section
from reports.page.sections.run_pictures import Budget, read_previews, read_sheets
from reports.page.sections.tunings import read_tunings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from histods.io.run_files import RunSummary
    from reports.page.pictures import Pictures
    from reports.page.source import Source

MAX_RUNS = 8
MAX_POINTS = 800
"""Points of a curve that are drawn; of more, each is the mean of its neighbours."""
_SMOOTHED_OVER = 50
"""Parts into which a curve is cut: the smoothed one forgets what is longer ago than one of them."""


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
    budget = Budget()
    runs = [_read_run(space.runs / one.run, one, budget, problems) for one in summaries]
    tunings = list(read_tunings(space, [one.run for one in summaries], budget, problems))
    sheets, more_sheets = read_sheets(space, budget, problems)
    differ = _settings_that_differ(summaries)
    return Content(
        values={
            "runs": runs,
            "left_out": left_out,
            "tunings": tunings,
            "sheets": sheets,
            "more_sheets": more_sheets,
            "differ": differ,
            "option": space.option,
            "sample": f"histods sample --masks MASKS{space.option}",
        },
        data={"runs": runs},
        problems=tuple(problems),
    )


def _changed(run: Path) -> float:
    """When a run last wrote a line of its metrics."""
    try:
        return (run / "metrics.jsonl").stat().st_mtime
    except OSError:
        return 0.0


def _read_run(folder: Path, summary: RunSummary, budget: Budget, problems: list[str]) -> dict[str, Any]:
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
        "previews": list(read_previews(folder / "samples", budget, problems)),
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


def _settings_that_differ(runs: Sequence[RunSummary]) -> dict[str, Any] | None:
    """The settings in which several runs differ."""
    keys = sorted({key for run in runs for key in run.settings})
    differ = [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]
    if not differ:
        return None
    rows = [(escaped(key), [escaped(str(run.settings.get(key, "-"))) for run in runs]) for key in differ]
    return {"runs": [escaped(run.run) for run in runs], "rows": rows}


SECTION = Section(name="runs", title="Training runs", build=build)
