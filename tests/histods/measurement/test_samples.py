"""Nothing is lost when files are joined to samples, each sample has one role, and totals are those of a loop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.manifest import to_polars
from histods.measurement.samples import count, join_measurements, total_labels, with_roles
from histods.measurement.worker import SCHEMA
from histods.records import LabelTotals

NONE = pl.DataFrame(schema=dict.fromkeys(("key", "path", "code", "severity", "message"), pl.String))
SAMPLE: dict[str, Any] = {
    "key": pl.String,
    "image_path": pl.String,
    "mask_path": pl.String,
    "image_outside": pl.Boolean,
    "mask_outside": pl.Boolean,
    "outside": pl.Boolean,
    "by_design": pl.Boolean,
    "labels": pl.List(pl.UInt16),
    "pixels": pl.List(pl.UInt32),
    "collision": pl.String,
    "rivals": pl.String,
}


def samples(*rows: dict[str, Any]) -> pl.DataFrame:
    """Sound pairs with the label 1, but for what each row says."""
    sound = {
        **dict.fromkeys(SAMPLE),
        **dict.fromkeys(("image_outside", "mask_outside", "outside", "by_design"), False),
        "labels": [1],
        "pixels": [9],
    }
    named = [
        {**sound, "key": f"ß{number}", "image_path": f"ß{number}.jpg", "mask_path": f"ß{number}_m.png", **row}
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(named, schema=SAMPLE)


def finding(key: str, severity: str, code: str = "code") -> pl.DataFrame:
    """One finding, for the sample's image."""
    row = {"key": key, "path": f"{key}.jpg", "code": code, "severity": severity, "message": ""}
    return pl.DataFrame([row], schema=NONE.schema)


def test_each_sample_gets_what_was_measured_of_its_own_files() -> None:
    """A mask of several images is given to each; one path that is an image here and a mask there is told apart."""
    paired = pl.DataFrame(
        {"key": ["c", "a", "b"], "image_path": ["c.png", None, "b.png"], "mask_path": ["m.png", "b.png", "m.png"]}
    )
    files = [("b.png", False, 1), ("b.png", True, 2), ("c.png", False, 3), ("m.png", True, 4), ("z.png", True, 5)]
    rows = [
        {**dict.fromkeys(SCHEMA.names), "path": path, "is_mask": is_mask, "bytes": size}
        for path, is_mask, size in files
    ]
    measured = to_polars(SCHEMA.empty_table().from_pylist(rows, SCHEMA))
    joined = join_measurements(paired, measured)
    assert joined.select(paired.columns).equals(paired)
    assert joined["image_bytes"].to_list() == [3, None, 1]
    assert joined["mask_bytes"].to_list() == [4, 2, 4]


@pytest.mark.parametrize(
    ("row", "role"),
    [
        ({}, "conditional"),
        ({"labels": [0, 3]}, "conditional"),
        ({"labels": [0]}, "unconditional"),
        ({"labels": None, "mask_path": None, "by_design": True}, "unconditional"),
        ({"labels": None, "mask_path": None}, "excluded"),
        ({"image_outside": True}, "excluded"),
        ({"mask_outside": True}, "excluded"),
        ({"outside": True}, "excluded"),
    ],
    ids=str,
)
def test_a_sample_has_the_role_that_its_files_give(row: dict[str, Any], role: str) -> None:
    assert with_roles(samples(row, {}), NONE)["role"].to_list() == [role, "conditional"]


@pytest.mark.parametrize(("severity", "role"), [("error", "excluded"), ("warning", "conditional")])
def test_an_error_excludes_its_own_sample_and_a_warning_none(severity: str, role: str) -> None:
    assert with_roles(samples({}, {}), finding("ß1", severity))["role"].to_list() == ["conditional", role]


def test_counts_tell_pairs_from_what_is_left_over() -> None:
    rows = samples(
        {},
        {"labels": [0]},
        {"image_path": None},
        {"mask_path": None, "labels": None},
        {"image_path": None, "rivals": "a.png"},
        {"outside": True},
        {"mask_path": None, "labels": None},
        {"labels": None},
    )
    findings = pl.concat([finding("ß6", "warning", "looks_like_mask"), finding("ß7", "error")])
    counts = count(with_roles(rows, findings), findings)
    assert asdict(counts) == {
        "images": 4,
        "masks": 5,
        "pairs": 3,
        "orphan_masks": 1,
        "images_without_mask": 1,
        "zero_masks": 1,
        "meaningful_masks": 1,
        "conditional": 3,
        "unconditional": 1,
        "excluded": 4,
    }


MASKS = st.dictionaries(st.integers(0, 65535), st.integers(1, 2**32 - 1), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(masks=st.lists(st.tuples(st.sampled_from(["conditional", "unconditional", "excluded"]), st.none() | MASKS)))
def test_totals_are_those_of_a_loop_over_masks_and_count_each_once(
    masks: list[tuple[str, dict[int, int] | None]],
) -> None:
    rows = samples(
        *(
            {"labels": None, "pixels": None} if mask is None else {"labels": [*mask], "pixels": [*mask.values()]}
            for _, mask in masks
        )
    ).with_columns(role=pl.Series([role for role, _ in masks], dtype=pl.String))
    for totals, excluded in zip(total_labels(rows, {7: "Tumör"}), (False, True), strict=True):
        held = [mask for role, mask in masks if mask is not None and (role == "excluded") == excluded]
        assert (totals.masks, totals.pixels) == (len(held), sum(sum(mask.values()) for mask in held))
        assert [row.label for row in totals.labels] == sorted({label for mask in held for label in mask})
        for row in totals.labels:
            having = [mask[row.label] for mask in held if row.label in mask]
            assert (row.pixels, row.images) == (sum(having), len(having))
            assert row.percent == pytest.approx(100 * row.pixels / totals.pixels)
            assert row.name == ("Tumör" if row.label == 7 else f"label {row.label}")


def test_no_readable_mask_gives_empty_totals() -> None:
    empty = LabelTotals(masks=0, pixels=0, labels=())
    for rows in (samples(), samples({"labels": None, "pixels": None})):
        assert total_labels(rows.with_columns(role=pl.lit("conditional")), {}) == (empty, empty)
