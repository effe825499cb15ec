from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from histods.checks import SAMPLES, Context, judge_all
from histods.measurement.samples import join_measurements
from histods.measurement.worker import MeasureOptions, measure_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Colours = dict[int, tuple[int, int, int]]

# A sound pair of 8x8 pixels, of which half are label 1.
SOUND: dict[str, object] = {
    "by_design": False,
    "outside": False,
    "image_outside": False,
    "mask_outside": False,
    "image_format": "jpeg",
    "image_width": 8,
    "image_height": 8,
    "mask_format": "png",
    "mask_kind": "gray8",
    "mask_width": 8,
    "mask_height": 8,
    "labels": [0, 1],
    "pixels": [32, 32],
    "runs": 2,
    "specks": 0,
    "off_palette": 0,
    "nearest": False,
}


def build_table(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Samples a, b, c, ...: sound pairs but for what each row says; pixels are shared evenly by its labels."""
    samples = []
    for number, row in enumerate(rows):
        key = chr(ord("a") + number) if number < 26 else f"z{number:04}"
        sample = SOUND | {"key": key, "image_path": f"{key}.jpg", "mask_path": f"{key}_mask.png"}
        labels = row.get("labels")
        if isinstance(labels, list):
            sample["pixels"] = [4096 // len(labels)] * len(labels)
        samples.append({**sample, **row})
    return pl.DataFrame([{name: sample.get(name) for name in SAMPLES} for sample in samples], schema=SAMPLES)


@pytest.fixture(scope="session")
def table() -> Callable[..., pl.DataFrame]:
    return build_table


def measure_masks(folder: Path, masks: Mapping[str, bytes], colours: Colours | None = None) -> pl.DataFrame:
    """Write mask files and measure them as an audit does.

    Returns:
        Samples in the order of `masks`, each with an image of the mask's size that was not measured.
    """
    for name, content in masks.items():
        (folder / name).write_bytes(content)
    options = MeasureOptions(root=folder.as_posix(), colours=colours or {})
    measured = pa.ipc.open_stream(
        measure_files([(name, True, None, False) for name in masks], options=options)
    ).read_all()
    usual = {name: SOUND[name] for name, kind in SAMPLES.items() if kind == pl.Boolean() and name in SOUND}
    rows = [{"key": name, "image_path": f"{name}.jpg", "mask_path": name, **usual} for name in masks]
    paired = pl.DataFrame(rows, schema={name: SAMPLES[name] for name in rows[0]})
    samples = join_measurements(paired, pl.DataFrame(pl.from_arrow(measured)))
    missing = [pl.lit(None, kind).alias(name) for name, kind in SAMPLES.items() if name not in samples.columns]
    return samples.with_columns(missing).select(list(SAMPLES))


@pytest.fixture
def judge_files(tmp_path: Path) -> Callable[..., dict[str, dict[str, str]]]:
    """A function that writes masks, measures and judges them: name -> code -> message, without infos."""

    def judge(masks: Mapping[str, bytes], colours: Colours | None = None) -> dict[str, dict[str, str]]:
        labels = None if colours is None else frozenset(colours)
        samples = measure_masks(tmp_path, masks, colours)
        found = judge_all(samples, Context(labels=labels, has_colours=bool(colours)))
        findings: dict[str, dict[str, str]] = {name: {} for name in masks}
        for path, code, message in found.filter(pl.col("severity") != "info")["path", "code", "message"].rows():
            findings[path][code] = message
        return findings

    return judge
