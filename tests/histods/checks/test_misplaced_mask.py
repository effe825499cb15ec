"""`misplaced_mask`: how many masks that are turned, moved or swapped it finds, and how many right ones."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import histods
from histods.checks.base import Context
from histods.checks.misplaced_mask import CHECK
from histods.masks.fit import CELLS_AFTER
from histods.masks.grids import CELLS, SIDE
from reports.page.sections.thumbnails import WORST, choose_worst
from tests.datasets.misplaced import changed_cells, swap_some, table_of, turn_some, usable, with_layouts
from tests.datasets.tissues import KINDS, make_pairs

NUMBER = 200
CONTEXT = CHECK.context(Context(quality=True))


@cache
def tissue(kind: str) -> pl.DataFrame:
    return table_of(make_pairs(kind, NUMBER))


def flagged(samples: pl.DataFrame, context: Context = CONTEXT) -> np.ndarray:
    """Rows with a finding."""
    keys = CHECK.judge(samples, context)["key"]
    return np.flatnonzero(samples["key"].is_in(keys.implode()).to_numpy())


@pytest.mark.parametrize(
    ("kind", "least"), [("skin", 0.85), ("nuclei", 0.98), ("glands", 0.95), ("tumour", 0.98), ("regions", 0.9)]
)
def test_misplaced_masks_are_found_and_right_ones_are_not(kind: str, least: float) -> None:
    """Over three draws of 30 masks that are turned and three of 30 that are swapped; what is left is right."""
    samples = tissue(kind)
    found, planted, wrong, right = 0, 0, 0, 0
    for seed in range(3):
        random = np.random.default_rng(seed)
        rows = random.permutation(usable(samples))[:30]
        for changed in (turn_some(samples, rows, random), swap_some(samples, rows)):
            result = flagged(changed)
            differing = rows[changed_cells(samples, changed, rows) > 0.1]
            found += np.isin(differing, result).sum()
            planted += len(differing)
            wrong += len(np.setdiff1d(result, rows))
            right += len(samples) - len(rows)
    assert found >= least * planted
    assert wrong < 0.01 * right


@pytest.mark.parametrize("kind", ["skin", *KINDS])
def test_of_right_masks_hardly_any_is_flagged(kind: str) -> None:
    assert len(flagged(tissue(kind))) <= 0.01 * NUMBER


def test_masks_that_were_all_turned_on_their_own_are_found() -> None:
    samples = tissue("nuclei")
    changed = turn_some(samples, usable(samples), np.random.default_rng(5))
    rows = usable(samples)
    differing = rows[changed_cells(samples, changed, rows) > 0.1]
    assert np.isin(differing, flagged(changed)).mean() > 0.95


def test_a_dataset_whose_masks_say_nothing_of_their_images_has_a_note_but_no_finding() -> None:
    samples = tissue("loose")
    swapped = swap_some(samples, usable(samples))
    for table in (samples, swapped, turn_some(samples, usable(samples)[:40], np.random.default_rng(0))):
        assert len(flagged(table)) == 0
        note = CHECK.note(table, CONTEXT) if CHECK.note else None
        assert note is not None
        assert "judged none of 200 masks: they follow their images too little" in note


def test_a_mask_moved_by_a_quarter_of_a_side_is_found_and_told_in_pixels() -> None:
    samples = tissue("nuclei")
    rows = usable(samples)[:20]
    layouts = []
    for row in rows:
        layout = np.frombuffer(samples["layout"][int(row)], np.uint8).reshape(SIDE, SIDE)
        moved = np.full_like(layout, layout[0, 0])
        moved[:, 4:] = layout[:, :-4]
        layouts.append(moved.tobytes())
    findings = CHECK.judge(with_layouts(samples, rows, layouts), CONTEXT)
    said = findings["message"].str.contains("better when moved by 32 pixels to the left: agreement ").sum()
    assert said >= 0.9 * len(rows)


def test_the_message_says_how_it_fits_and_by_how_much() -> None:
    samples = tissue("nuclei")
    rows = usable(samples)[[4, 30]]
    half = [np.frombuffer(samples["layout"][int(row)], np.uint8)[CELLS_AFTER[3]].tobytes() for row in rows]
    findings = CHECK.judge(with_layouts(samples, rows, half), CONTEXT)
    pattern = (
        r"^the mask fits its image better when turned by 180 degrees: agreement [01]\.\d\d instead of -?0\.\d\d; "
        r"look at it with: histods show p\d{3} --open DIR$"
    )
    assert findings.filter(pl.col("message").str.contains(pattern)).height == len(findings) == 2
    swapped = swap_some(samples, rows)
    messages = CHECK.judge(swapped, CONTEXT)["message"].to_list()
    keys = samples["key"].gather(rows).to_list()
    assert [key in message for key, message in zip(reversed(keys), messages, strict=True)] == [True, True]
    assert all("fits the image better than its own mask: agreement " in message for message in messages)
    far = swap_some(samples, np.array([rows[0], usable(samples)[-1]]))
    assert all(
        "no better than masks of other images do: agreement" in message
        and "where 1 is usual for such a mask" in message
        for message in CHECK.judge(far, CONTEXT)["message"]
    )


@pytest.mark.skipif("HISTODS_REAL_DATA" not in os.environ, reason="HISTODS_REAL_DATA names no folder of real data")
def test_of_crops_of_real_patches_with_partial_annotation_none_is_flagged() -> None:
    pairs = []
    for path in sorted(Path(os.environ["HISTODS_REAL_DATA"], "lung12").glob("*.jpg")):
        image = np.asarray(Image.open(path).convert("RGB"))
        mask = np.asarray(Image.open(path.with_name(f"{path.stem}_mask.png")))
        for top in range(0, 257, 64):
            for left in range(0, 257, 64):
                crop = np.s_[top : top + 256, left : left + 256]
                pairs.append((np.ascontiguousarray(image[crop]), np.ascontiguousarray(mask[crop])))
    samples = table_of(pairs)
    assert len(usable(samples)) > 200
    assert len(flagged(samples)) == 0


def test_the_report_shows_the_least_agreement_first() -> None:
    texts = [
        "agreement 0.61 instead of 0.20; look",
        "x: agreement -0.12, where 1 is usual; look",
        "… instead of -0.02; look",
    ]
    findings = pl.DataFrame({"key": ["a", "b", "c"], "path": ["a", "b", "c"], "message": texts})
    order = choose_worst(
        findings, pl.DataFrame({"key": ["a", "b", "c"], "findings": [9, 1, 1]}), WORST["misplaced_mask"][1]
    )
    assert order["key"].to_list() == ["b", "c", "a"]


def test_what_cannot_tell_is_not_judged() -> None:
    samples = tissue("nuclei")
    rows = usable(samples)
    others = samples["layout"].to_list()
    wrong = with_layouts(samples, rows[:30], [others[row] for row in np.roll(rows[:30], 1)])
    assert len(flagged(wrong)) >= 28
    first = pl.int_range(pl.len()) < 31
    grey = np.full((CELLS, 4), 230, np.uint8).tobytes()
    for column, value in {"image_width": 64, "mask_error": "damaged", "appearance": grey, "layout": None}.items():
        literal = pl.lit(value, wrong.schema[column])
        silenced = wrong.with_columns(pl.when(first).then(literal).otherwise(pl.col(column)).alias(column))
        assert len(flagged(silenced)) == 0, column


def test_thresholds_make_it_more_or_less_willing() -> None:
    samples = tissue("glands")
    changed = turn_some(samples, usable(samples)[:40], np.random.default_rng(0))
    better = [
        CHECK.judge(changed, CHECK.context(Context(overrides={"misplaced_mask.better": limit})))
        .filter(pl.col("message").str.contains("better when"))
        .height
        for limit in (0.5, 2, 100)
    ]
    assert better[0] >= better[1] > better[2] == 0
    many = CHECK.context(Context(overrides={"misplaced_mask.least": 201}))
    assert CHECK.judge(changed, many).height == 0
    assert CHECK.note is not None
    assert "judged none of 200 masks: it needs 201 with several labels" in str(CHECK.note(changed, many))
    assert CHECK.note(samples.clear(), CONTEXT) is None
    assert CHECK.judge(samples.clear(), CONTEXT).height == 0


def test_an_audit_finds_masks_that_were_turned_swapped_or_left_by_their_image(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    pairs = make_pairs("glands", 80, 3)
    turned = {5: Image.Transpose.FLIP_LEFT_RIGHT, 6: Image.Transpose.ROTATE_270}
    swapped, tagged = {20: 21, 21: 20}, (30, 31)
    exif = Image.Exif()
    exif[274] = 6
    for place, (image, _) in enumerate(pairs):
        picture, mask = Image.fromarray(image), Image.fromarray(pairs[swapped.get(place, place)][1])
        path = root / f"p{place:02} ü.jpg"
        if place in tagged:  # as cameras and some editors leave them: pixels turned to the left, and a tag
            picture.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
        else:
            picture.save(path, quality=90)
        mask = mask.transpose(turned[place]) if place in turned else mask
        mask.save(root / f"p{place:02} ü_mask.png")
    quick = histods.audit(root, workspace=tmp_path / "out")
    assert "misplaced_mask" not in quick.findings
    results = [histods.audit(root, workspace=tmp_path / f"out{n}", quality=True, workers=n) for n in (1, 2)]
    tables = [result.findings_frame().filter(pl.col("code") == "misplaced_mask") for result in results]
    assert tables[0].equals(tables[1])
    said = dict(tables[0].select("path", "message").iter_rows())
    expected = sorted(f"p{place:02} ü_mask.png" for place in (*turned, *swapped, *tagged))
    assert sorted(said) == expected
    assert "better when mirrored left to right" in said["p05 ü_mask.png"]
    for place in (6, *tagged):
        assert "better when turned by 90 degrees to the left" in said[f"p{place:02} ü_mask.png"]
        assert f"histods show 'p{place:02} ü' --open DIR" in said[f"p{place:02} ü_mask.png"]
    for place in swapped:
        assert "better than" in said[f"p{place:02} ü_mask.png"]
