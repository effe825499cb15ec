"""A check that needs a number of its own is one file, which measures and judges; so do its thresholds."""

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
from histods.checks.base import Check, Context, Threshold, found, measured_mask
from histods.errors import HistodsError
from histods.measurement.extra_measure import Measure

if TYPE_CHECKING:
    from pathlib import Path

    from histods.colours.colour_labels import Mask
    from histods.images.reduced import Picture
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


def measure_red(picture: Picture) -> float:
    return float(picture.pixels[..., 0].mean())


def measure_share(mask: Mask, _: Runs) -> float:
    return float((mask.labels > 0).mean())


def judge_red(samples: pl.DataFrame, context: Context) -> pl.DataFrame:
    red = samples.filter((pl.col("red") > context.limits["red"]) & (pl.col("share") > context.limits["share"]))
    return found(red, "image_path", "too red; look at it")


def note_small(samples: pl.DataFrame, context: Context) -> str | None:
    return f"Of {len(samples)} images redness tells little." if context.limits["few"] > len(samples) else None


RED = Check(
    code="red_image",
    severity="error",
    summary="An image that is red (with `--quality`).",
    judge=judge_red,
    note=note_small,
    measures=(
        Measure(column="red", type=pa.float32(), quality=True, of_image=measure_red),
        Measure(column="share", type=pa.float32(), quality=True, of_mask=measure_share),
    ),
    thresholds=(
        Threshold(name="red", default=200.0, meaning="more red", source="made up", most=255.0),
        Threshold(name="share", default=0.5, meaning="a larger mask", source="made up"),
        Threshold(name="few", default=3, meaning="fewer images", source="made up", most=100),
    ),
    quality=True,
)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_measures_images_only_when_asked_and_a_threshold_reads_no_file(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, red in {"a": 190, "b": 220, "c": 240}.items():
        Image.new("RGB", (600, 520), (red, 0, 90)).save(root / f"{name}.{'jpg' if name == 'b' else 'png'}")
        Image.new("L", (600, 520), name != "c").save(root / f"{name}_mask.png")
    (root / "d.jpg").write_bytes((root / "b.jpg").read_bytes()[:-2])
    Image.new("L", (600, 520), 1).save(root / "d_mask.png")
    use(RED, monkeypatch, histods.checks.CHECKS)

    def run(*settings: str, quality: bool = True) -> tuple[int, list[str], tuple[str, ...]]:
        result = histods.audit(
            root, workspace=tmp_path / "out", workers=workers, quality=quality, set=settings, verify="structure"
        )
        rows = result.findings_frame().filter(pl.col("code") == "red_image")
        notes = tuple(note for note in result.notes if "redness" in note)
        return result.files_read, (rows["path"] + ": " + rows["message"]).to_list(), notes

    said = ["b.jpg: too red; look at it"]
    assert run(quality=False) == (8, [], ())
    assert run() == (7, said, ())  # the truncated one has nothing to decode
    assert run(quality=False) == (0, [], ())
    assert run() == (0, said, ())
    looser = ("checks.red_image.red=180", "checks.red_image.share=0")
    assert run(*looser) == (0, ["a.png: too red; look at it", *said], ())
    assert run("checks.red_image.few=10") == (0, said, ("Of 4 images redness tells little.",))
    (root / "a.png").unlink()
    assert run(quality=False) == (0, [], ())  # what was measured of the others is kept
    assert run() == (0, said, ())


def test_a_measure_is_of_images_or_of_masks() -> None:
    for wrong in ({}, {"of_image": measure_red}, {"of_mask": measure_share, "of_image": measure_red}):
        with pytest.raises(ValueError, match="the measure red"):
            Measure(column="red", type=pa.float32(), **wrong)
    with pytest.raises(ValueError, match="red_image measures images, which needs quality=True"):
        replace(RED, quality=False)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("red=3", "is not checks.CODE.NAME=VALUE"),
        ("checks.red_image.red", "is not checks.CODE.NAME=VALUE"),
        ("checks.red_image.red=", "is not checks.CODE.NAME=VALUE"),
        ("checks.red.image.red=1", "is not checks.CODE.NAME=VALUE"),
        ("checks.red_imag.red=1", "there is no check red_imag; the nearest check that has some is red_image"),
        ("checks.zero_mask.red=1", "the check zero_mask has no thresholds; the nearest"),
        ("checks.red_image.read=1", "red_image has no threshold read, only red"),
        ("checks.red_image.red=much", "red is 'much', expected a number from 0 to 255; the default is 200."),
        ("checks.red_image.red=nan", "red is 'nan', expected a number"),
        ("checks.red_image.red=256", "red is '256', expected a number"),
        ("checks.red_image.few=1.5", "few is '1.5', expected a whole number from 0 to 100; the default is 3."),
    ],
)
def test_a_threshold_that_is_wrong_is_one_line(
    setting: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(RED, monkeypatch, histods.checks.CHECKS)
    with pytest.raises(HistodsError) as error:
        histods.audit(tmp_path, workspace=tmp_path / "out", set=setting)
    assert said in str(error.value)
    assert setting in str(error.value)
    assert "\n" not in str(error.value)
