"""The pictures of docs/quality.md: for each check what it finds, and what it leaves alone although it comes near.

`python -m tests.datasets.quality_pictures` draws them into docs/quality, each verdict as an audit gives it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

import histods
from tests.histods.checks.picture_files import FAULTS, corner, draw, encode, shift, tissue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

SIDE, TEXT = 150, 30
SURFACE, FAT, CARTILAGE, LESION = 6, 12, 1, 5
"""Patches with much glass, with pale fat, with smooth cartilage, and of crowded nuclei."""


def bright(pixels: Pixels, factor: float) -> Pixels:
    """The picture at another exposure."""
    return np.asarray(np.clip(pixels * factor, 0, 255), np.uint8)


def blurred(pixels: Pixels, deviation: float) -> Pixels:
    """The picture out of focus by so many pixels."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), deviation), np.uint8)


def moved(pixels: Pixels, number: int) -> Pixels:
    """The picture moved to the left by some pixels."""
    return pixels if number == 0 else moved(shift(pixels), number - 1)


def make_cases() -> dict[str, list[tuple[str, Pixels]]]:
    """Captions and pictures by code; pictures are of tissue of their own but for near-duplicates."""
    fault = {name: change for name, (_, change) in FAULTS.items()}
    return {
        "blank": [
            ("white glass", fault["white glass"](tissue(60))),
            ("tinted glass", fault["tinted glass"](tissue(61))),
            ("a speck of tissue", corner(tissue(62))),
            ("fat", tissue(FAT)),
        ],
        "low_tissue": [
            ("a speck of tissue", corner(tissue(62))),
            ("surface", tissue(SURFACE)),
            ("fat", tissue(FAT)),
        ],
        "blur": [
            ("blurred by 5 px", blurred(tissue(64), 5)),
            ("by 2.5 px", blurred(tissue(65), 2.5)),
            ("by 1 px", blurred(tissue(66), 1)),
            ("cartilage", tissue(CARTILAGE)),
        ],
        "too_dark": [
            ("at 0.15", bright(tissue(67), 0.15)),
            ("at 0.4", bright(tissue(68), 0.4)),
            ("at 0.65", bright(tissue(69), 0.65)),
            ("crowded nuclei", tissue(LESION)),
        ],
        "over_exposed": [
            ("at 1.8", bright(tissue(70), 1.8)),
            ("at 1.5", bright(tissue(71), 1.5)),
            ("eosin", tissue(CARTILAGE)),
            ("surface", tissue(SURFACE)),
        ],
        "pen_marks": [
            ("blue", fault["blue ink"](tissue(73))),
            ("green", fault["green ink"](tissue(74))),
            ("black", fault["black ink"](tissue(75))),
            ("red", draw(tissue(76), (200, 30, 50))),
            ("crowded nuclei", tissue(LESION)),
        ],
        "stain_outlier": [
            ("trichrome", fault["another stain"](tissue(77))),
            ("grey", np.repeat(tissue(78).mean(axis=2, keepdims=True), 3, 2).astype(np.uint8)),
            ("cartilage", tissue(CARTILAGE)),
            ("fat", tissue(FAT)),
        ],
        "near_duplicate": [
            ("compressed", tissue(20)),
            ("moved by 1 px", moved(tissue(21), 1)),
            ("moved by 12 px", moved(tissue(22), 12)),
            ("mirrored", np.ascontiguousarray(tissue(23)[:, ::-1])),
        ],
    }


def find_verdicts(cases: dict[str, list[tuple[str, Pixels]]]) -> dict[str, list[bool]]:
    """Whether an audit of all pictures, beside 60 sound ones, finds each of them by its code."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "data")
        root.mkdir()
        for index in range(60):
            (root / f"a sound {index}.jpg").write_bytes(encode(tissue(index)))
        for code, pictures in cases.items():
            for place, (_, pixels) in enumerate(pictures):
                (root / f"{code} {place}.jpg").write_bytes(encode(pixels, quality=70))
        result = histods.audit(
            root, workspace=Path(temporary, "out"), quality=True, allow_unpaired=True, workers=1
        )
        found = {(finding.path, finding.code) for finding in result.iter_findings()}
    return {
        code: [(f"{code} {place}.jpg", code) in found for place in range(len(pictures))]
        for code, pictures in cases.items()
    }


def draw_sheet(pictures: list[tuple[str, Pixels]], verdicts: list[bool]) -> Image.Image:
    """The pictures of one check side by side, with caption and verdict below."""
    sheet = Image.new("RGB", (len(pictures) * (SIDE + 6), SIDE + TEXT), "white")
    pen = ImageDraw.Draw(sheet)
    for place, ((caption, pixels), verdict) in enumerate(zip(pictures, verdicts, strict=True)):
        left = place * (SIDE + 6)
        sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, 0))
        pen.text((left + 2, SIDE + 2), caption, fill="black")
        pen.text(
            (left + 2, SIDE + 15), "found" if verdict else "not found", fill="firebrick" if verdict else "gray"
        )
    return sheet


def main() -> None:
    """Draw all sheets."""
    cases = make_cases()
    folder = Path("docs/quality")
    folder.mkdir(exist_ok=True)
    for code, verdicts in find_verdicts(cases).items():
        draw_sheet(cases[code], verdicts).save(folder / f"{code}.jpg", quality=85)
        print(code, [(caption, verdict) for (caption, _), verdict in zip(cases[code], verdicts, strict=True)])


if __name__ == "__main__":
    main()
