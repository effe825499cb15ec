"""Evaluations of generated images: distances beside their floor, faithfulness, copies, pictures; and of masks."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.evaluation_file import FILE, METRICS, EvaluationFile
from histods.io.mask_evaluation_file import FILE as MASK_FILE
from histods.io.mask_evaluation_file import MaskEvaluationFile
from histods.printing import escaped
from reports.page.packing import data_uri
from reports.page.section import Content, Missing, Section
from reports.page.sections.mask_evaluations import describe_masks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reports.page.pictures import Pictures
    from reports.page.source import Source

MAX_EVALUATIONS = 8
_PICTURES = {
    "distances.png": "Each metric: all images with an interval, half of them, and halves of the real ones",
    "confusion.png": "Classes of masks against those that a segmenter sees",
    "copies.png": "Generated images beside the training images that are nearest to them",
}
_MAX_FILE_BYTES, _MAX_SIDE = 20_000_000, 1600


def build(source: Source, _: Pictures) -> Content:
    """Read the newest evaluations of the workspace."""
    space = source.space
    found = (*space.evaluations.glob(f"*/{FILE}"), *space.evaluations.glob(f"*/{MASK_FILE}"))
    files = sorted(found, key=lambda path: (path.stat().st_mtime, path), reverse=True)
    if not files:
        missing = Missing(
            reason="No generated images or masks have been evaluated yet.",
            command=f"histods evaluate{space.option}",
        )
        return Content(missing=missing)
    problems: list[str] = []
    images, masks = [], []
    for path in files[:MAX_EVALUATIONS]:
        try:
            if path.name == MASK_FILE:
                masks.append(describe_masks(path.parent, MaskEvaluationFile.read(path)))
            else:
                images.append(_describe(path.parent, EvaluationFile.read(path)))
        except HistodsError as error:
            problems.append(str(error))
    return Content(
        values={"evaluations": images, "masks": masks, "left_out": max(0, len(files) - MAX_EVALUATIONS)},
        problems=tuple(problems),
    )


def _describe(folder: Path, found: EvaluationFile) -> dict[str, Any]:
    """What the template shows of one evaluation."""
    scores = found.faithfulness
    return {
        "name": escaped(folder.name),
        "of": escaped(found.generated_from if found.run is None else f"{found.run}, step {found.step:,}"),
        "facts": [
            ("generated images", f"{found.generated:,}"),
            ("real images", f"{found.real:,} of {found.slides:,} slides ({escaped(found.real_from)})"),
            ("features", f"{escaped(found.judge.features)} ({found.judge.width:,})"),
            ("size", f"{found.width} x {found.height} pixels, compared as JPEG of quality {found.jpeg_quality}"),
        ],
        "distances": [
            {"title": title, **asdict(found.distances[name])}
            for name, title in METRICS.items()
            if name in found.distances
        ],
        "classes": [] if scores is None else [asdict(one) | {"name": escaped(one.name)} for one in scores.classes],
        "faithfulness": None if scores is None else (scores.dice, scores.real_dice, scores.ratio),
        "copies": [asdict(one) for one in found.copies],
        "training": found.training,
        "downstream": [asdict(one) for one in found.downstream],
        "warnings": [escaped(line) for line in found.warnings],
        "pictures": list(_read_pictures(folder)),
    }


def _read_pictures(folder: Path) -> Iterator[dict[str, Any]]:
    """The pictures of an evaluation, those that can be read, as texts of the page."""
    from PIL import Image

    for name, alt in _PICTURES.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            continue
        try:
            with Image.open(path) as picture:
                shown = picture.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        shown.thumbnail((_MAX_SIDE, _MAX_SIDE))
        buffer = io.BytesIO()
        shown.save(buffer, "WEBP", quality=80)
        yield {
            "image": data_uri("image/webp", buffer.getvalue()),
            "width": shown.width,
            "height": shown.height,
            "alt": alt,
        }


SECTION = Section(name="evaluations", title="Evaluations", build=build)
