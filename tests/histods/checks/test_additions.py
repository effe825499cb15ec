"""A check that needs a number of its own is one file, which measures and judges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import histods.checks
import histods.steps.audit
from histods.checks.base import Check, Context, found, measured_mask
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from pathlib import Path

    from histods.colours.colour_labels import Mask
    from histods.run_lengths import Runs


def measure_longest(_: Mask, runs: Runs) -> int:
    return int(runs.lengths.max())


def judge(samples: pl.DataFrame, _: Context) -> pl.DataFrame:
    thin = samples.filter(measured_mask() & (pl.col("longest_run") < 4))
    return found(thin, "mask_path", pl.format("no run of pixels is longer than {}; look at it", "longest_run"))


CHECK = Check(
    code="thin_mask",
    severity="error",
    summary="A mask of short runs alone.",
    judge=judge,
    measures=(Measure(column="longest_run", type=pa.uint32(), of_mask=measure_longest),),
)


def use(check: Check | None, monkeypatch: pytest.MonkeyPatch, checks: tuple[Check, ...]) -> None:
    for module in (histods.checks, histods.steps.audit):
        monkeypatch.setattr(module, "CHECKS", checks if check is None else (*checks, check))


@pytest.mark.parametrize("workers", [1, 2])
def test_it_measures_in_workers_judges_and_takes_earlier_numbers(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, checks = tmp_path / "data", histods.checks.CHECKS
    root.mkdir()
    for name, mask in {"a": np.eye(16), "b": np.ones((16, 16)), "c": np.indices((16, 16)).sum(0) % 3}.items():
        Image.new("RGB", (16, 16)).save(root / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / f"{name}_mask.png")
    (root / "d.png").write_bytes((root / "a.png").read_bytes())
    (root / "d_mask.png").write_bytes(b"no mask")

    def run() -> tuple[int, int, list[str]]:
        result = histods.audit(root, workspace=tmp_path / "out", workers=workers)
        frame = result.findings_frame()
        rows = frame.filter(pl.col("code") == "thin_mask")
        return result.files_read, result.counts.excluded, (rows["path"] + ": " + rows["message"]).to_list()

    assert run() == (8, 1, [])
    use(CHECK, monkeypatch, checks)
    said = ["c_mask.png: no run of pixels is longer than 1; look at it"]
    assert run() == (4, 2, said)  # masks alone
    assert run() == (0, 2, said)
    newer = replace(CHECK.measures[0], version=2)
    use(replace(CHECK, measures=(newer,)), monkeypatch, checks)
    assert run() == (4, 2, said)
    use(None, monkeypatch, checks)
    assert run() == (4, 1, [])
