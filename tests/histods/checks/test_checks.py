from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.checks import CHECKS, SAMPLES, Check, Context, judge_all
from histods.checks.base import LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., pl.DataFrame]

CODES = {
    "error": "orphan_mask missing_mask looks_like_mask several_masks unreadable_image unreadable_mask "
    "size_mismatch turned unknown_label not_an_index_mask key_collision",
    "warning": "outside_layout converted_image mixed_sizes palettes_differ inverted_mask lossy_mask scaled_mask "
    "speckled_mask wide_mask "
    "off_palette suffix_mismatch duplicate_image duplicate_mask "
    "near_duplicate blank low_tissue blur too_dark over_exposed pen_marks stain_outlier "
    "outside_root labels_differ misplaced_mask",
    "info": "zero_mask constant_mask",
}
UNREAD: dict[str, object] = dict.fromkeys(
    ("mask_kind", "mask_width", "mask_height", "labels", "pixels", "runs", "specks", "off_palette")
)
NO_IMAGE: dict[str, object] = dict.fromkeys(("image_path", "image_format", "image_width", "image_height"))
NO_MASK: dict[str, object] = {**UNREAD, "mask_path": None, "mask_format": None}


def found(samples: pl.DataFrame, context: Context | None = None) -> list[tuple[str, str]]:
    """Path and code of all findings."""
    return judge_all(samples, context or Context()).select("path", "code").rows()


def message(samples: pl.DataFrame, context: Context | None = None) -> str:
    """The message of the only finding."""
    return str(judge_all(samples, context or Context())["message"].item())


def test_the_codes_and_their_severities_are_complete_and_in_order() -> None:
    expected = [(code, severity) for severity, codes in CODES.items() for code in codes.split()]
    assert [(check.code, check.severity) for check in CHECKS] == expected


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_every_check_is_a_documented_file_of_its_own(check: Check) -> None:
    module = importlib.import_module(f"histods.checks.{check.code}")
    assert module.CHECK is check
    assert inspect.getdoc(module)
    assert inspect.getdoc(check.judge)
    assert check.summary.endswith(".")
    assert "\n" not in check.summary


def test_sound_samples_have_no_findings(table: Table) -> None:
    samples = table({}, {"labels": [0, 28]}, {"labels": [10, 20]}, {**NO_MASK, "by_design": True})
    assert found(samples, Context(labels=frozenset({0, 1, 10, 20, 28}), hashed=True)) == []
    assert found(samples.clear(), Context(labels=frozenset({1}), hashed=True)) == []


def test_findings_have_their_columns_even_where_there_are_none(table: Table) -> None:
    for samples in (table({}), table({"labels": [0]})):
        names = dict.fromkeys(("key", "path", "code", "severity", "message", "other"), pl.String())
        assert judge_all(samples, Context()).schema == names


def test_masks_without_image_and_images_without_mask_are_found(table: Table) -> None:
    samples = table(NO_IMAGE, NO_MASK, {**NO_MASK, "by_design": True})
    assert found(samples) == [("a_mask.png", "orphan_mask"), ("b.jpg", "missing_mask")]


def test_files_that_collide_are_told_of_once_each(table: Table) -> None:
    images = "a.jpg and b.jpg share the key a"
    masks = "c_mask.png and d_mask.png are masks of the one image c.jpg"
    samples = table(
        {"collision": images},
        {**NO_MASK, "collision": images},
        {"rivals": masks},
        {**NO_IMAGE, "rivals": masks},
        {**NO_MASK, "rivals": "masks/ holds 5 masks of e.jpg"},
    )
    assert found(samples) == [
        ("a.jpg", "key_collision"),
        ("b.jpg", "key_collision"),
        ("c_mask.png", "several_masks"),
        ("d_mask.png", "several_masks"),
        ("e.jpg", "several_masks"),
    ]
    assert message(samples[:1]) == "a.jpg and b.jpg share the key a; keep one of them"
    assert (
        message(samples[2:3])
        == "c_mask.png and d_mask.png are masks of the one image c.jpg; keep one mask, or merge them into one"
    )


def test_of_a_picture_outside_the_layout_only_that_is_said(table: Table) -> None:
    samples = table({**NO_MASK, "outside": True, "image_error": "damaged", "derived": "its path says 'overlay'"})
    assert found(samples) == [("a.jpg", "outside_layout")]
    assert message(samples).startswith("neither image nor mask in this layout (its path says 'overlay'); if it is")
    (listed,) = judge_all(samples, Context(has_pairs=True))["message"]
    assert listed.endswith("; if it is meant, add a line for it to the file given with --pairs")


MASK_LOOK = {"colours": 3, "flat": 0.94, "solid": 1.0, "contrast": 2, "darkest": 0, "brightest": 2, "grey": True}
TISSUE = {"colours": 9000, "flat": 0.1, "solid": 0.1, "contrast": 9, "darkest": 9, "brightest": 250, "grey": False}
GLASS = {"colours": 3, "flat": 1.0, "solid": 1.0, "contrast": 2, "darkest": 243, "brightest": 245, "grey": True}


@pytest.mark.parametrize("by_design", [True, False])
def test_an_image_without_a_mask_that_is_no_image_is_told_by_name_or_by_content(
    table: Table, by_design: bool
) -> None:
    samples = table(
        {**NO_MASK, "look": MASK_LOOK},
        {**NO_MASK, "derived": "its path says 'overlay'", "look": TISSUE},
        {**NO_MASK, "mask_word": "gt", "look": GLASS},
        {**NO_MASK, "derived": "its name is that of the mask x_mask.png and ' (1)'"},
    ).with_columns(by_design=pl.lit(by_design))
    assert found(samples) == [(f"{key}.jpg", "looks_like_mask") for key in "abcd"]
    assert "it has 3 colours, and 94 % of its pixels are like their neighbours;" in message(samples[:1])
    assert "like their neighbours, and its name says 'gt';" in message(samples[2:3])


def test_tissue_and_glass_without_a_mask_are_images_whatever_a_word_says(table: Table) -> None:
    samples = table({**NO_MASK, "mask_word": "label", "look": TISSUE}, {**NO_MASK, "look": GLASS}, NO_MASK)
    assert found(samples.with_columns(by_design=pl.lit(value=True))) == []
    assert found(samples) == [(f"{key}.jpg", "missing_mask") for key in "abc"]


def test_the_readers_reason_becomes_the_finding(table: Table) -> None:
    bad_image = table({"image_error": "truncated: the JPEG has no end marker", "image_format": None})
    assert found(bad_image) == [("a.jpg", "unreadable_image")]
    assert message(bad_image) == (
        "image cannot be read: truncated: the JPEG has no end marker; restore it from its source"
    )
    bad_mask = table({**UNREAD, "mask_error": "empty: the file has no bytes"})
    assert found(bad_mask) == [("a_mask.png", "unreadable_mask")]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("damaged: the checksum of PNG chunk IDAT at byte 33 is wrong", "; restore it from its source"),
        ("a link to a file that does not exist", "; restore it from its source"),
        ("its name is not UTF-8; rename it", ""),
        ("a variant of TIFF that is not supported (5 channels); convert it to PNG or plain TIFF", ""),
        ("cannot be opened: Permission denied", "; make it readable and audit again"),
        ("too large for the memory of this machine", "; audit again with fewer --workers"),
        ("not a regular file", "; put a file in its place"),
    ],
)
def test_the_advice_fits_the_reason(table: Table, reason: str, advice: str) -> None:
    assert message(table({"image_error": reason})) == f"image cannot be read: {reason}{advice}"
    assert message(table({**UNREAD, "mask_error": reason})) == f"mask cannot be read: {reason}{advice}"


def test_a_mask_that_is_not_labels_has_no_other_findings(table: Table) -> None:
    colours = "RGB colours that no labels file explains"
    samples = table(
        {"mask_not_index": colours, "mask_width": 4, "labels": [0], "mask_kind": "gray16", "off_palette": 3},
        {"mask_error": "damaged", "mask_width": 4, "labels": [0]},
        {"mask_outside": True, "labels": [0, 255], "specks": 900, "runs": 1000},
    )
    assert found(samples, Context(labels=frozenset({7}))) == [
        ("a_mask.png", "not_an_index_mask"),
        ("b_mask.png", "unreadable_mask"),
        ("c_mask.png", "outside_root"),
    ]
    assert message(samples[:1]) == (
        "mask does not hold labels: RGB colours that no labels file explains; "
        "draft a labels file with --write-labels FILE, correct it, and audit again with --labels FILE"
    )


def test_a_mask_of_another_size_is_found_where_both_sizes_are_known(table: Table) -> None:
    samples = table(
        {"mask_width": 4, "mask_height": 4}, {"mask_height": 9}, {"image_width": None, "image_height": None}
    )
    assert found(samples) == [("a_mask.png", "size_mismatch"), ("b_mask.png", "size_mismatch")]
    assert message(samples[:1]) == "image is 8x8, mask is 4x4; export the mask again at the image's size"


def test_unnamed_labels_are_listed_with_their_pixels(table: Table) -> None:
    samples = table({"labels": [0, 61, 62], "pixels": [10, 12, 3]}, {"labels": [0, *range(61, 73)]})
    assert found(samples) == []
    context = Context(labels=frozenset({0, 1}))
    assert found(samples, context) == [("a_mask.png", "unknown_label"), ("b_mask.png", "unknown_label")]
    assert message(samples[:1], context) == (
        "labels that the labels file does not name: 61 (12 px), 62 (3 px); name them there or correct the mask"
    )
    assert "68 (315 px) and 4 more;" in judge_all(samples[1:], context)["message"].item()


def test_pixels_off_the_palette_are_no_unknown_label_but_a_stored_65535_is(table: Table) -> None:
    context = Context(labels=frozenset({0, 1}))
    colours: dict[str, Any] = {"mask_kind": "rgb", "labels": [0, 65535], "pixels": [4090, 6], "off_palette": 6}
    assert found(table(colours), context) == [("a_mask.png", "off_palette")]
    assert message(table(colours), context) == (
        "6 pixels (0.146 %) have a colour that the labels file does not give; "
        "add the colours to the --labels file (--write-labels FILE drafts one) or pass --nearest-colour"
    )
    nearest = table(colours | {"labels": [0, 1], "nearest": True})
    assert found(nearest, context) == [("a_mask.png", "off_palette")]
    assert "they were given the nearest colour's label" in message(nearest, context)
    assert ("a_mask.png", "unknown_label") in found(table({"labels": [0, 65535], "mask_kind": "gray16"}), context)
    everything = table(colours | {"labels": [65535], "pixels": [64], "off_palette": 64})
    assert found(everything, context) == [("a_mask.png", "off_palette")]
    assert message(everything, context).startswith("64 pixels (100.0 %)")


def test_small_labels_in_16_bits_are_found(table: Table) -> None:
    samples = table(
        {"mask_kind": "gray16", "labels": [0, 4]},
        {"mask_kind": "gray16", "labels": [0, 4, 300]},
        {"mask_kind": "gray16", "labels": [0, 255, 7]},
        {"mask_kind": "gray16", "labels": [0]},  # zeros stay zeros
        {"mask_kind": "gray16", "labels": [256]},
    )
    wide = [path for path, code in found(samples) if code == "wide_mask"]
    assert wide == ["a_mask.png", "c_mask.png"]


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("x.JPG", "jpeg", False),
        ("x.jpeg", "jpeg", False),
        ("x.TIFF", "tiff", False),
        ("x.tif", "tiff", False),
        ("x.tiff-xy_7.png", "png", False),
        ("x.png", None, False),
        ("x.jpg", "png", True),
        ("x.tif", "bmp", True),
        ("v1.2/x.Png", "webp", True),
    ],
)
def test_a_suffix_that_belies_the_content_is_found(table: Table, name: str, content: str, wrong: bool) -> None:
    samples = table(
        {"image_path": name, "image_format": content}, {**NO_IMAGE, "mask_path": name, "mask_format": content}
    )
    assert found(samples).count((name, "suffix_mismatch")) == 2 * wrong


def test_a_jpeg_mask_is_lossy_whatever_its_name(table: Table) -> None:
    samples = table({"mask_path": "a_mask.jpg", "mask_format": "jpeg"}, {"mask_format": "jpeg"})
    assert found(samples) == [
        ("a_mask.jpg", "lossy_mask"),
        ("b_mask.png", "lossy_mask"),
        ("b_mask.png", "suffix_mismatch"),
    ]
    assert judge_all(samples, Context())["message"].to_list()[2] == (
        "named .png, but the content is jpeg; rename it to .jpg: 'histods fix suffix_mismatch --repair --in-place'"
    )


def test_equal_images_name_each_other_where_images_were_hashed(table: Table) -> None:
    digests = ["1", "2", "1", "3", "1", "3", None, None]
    samples = table(*({"image_digest": digest} for digest in digests))
    assert found(samples) == []
    unreadable = table(*[{"image_digest": "0", "image_error": "empty"}] * 2)
    assert {code for _, code in found(unreadable, Context(hashed=True))} == {"unreadable_image"}
    findings = judge_all(samples, Context(hashed=True))
    assert dict(findings.select("path", "message").iter_rows()) == {
        "a.jpg": "same bytes as c.jpg and 1 more; keep one of them",
        "c.jpg": "same bytes as a.jpg and 1 more; keep one of them",
        "e.jpg": "same bytes as a.jpg and 1 more; keep one of them",
        "d.jpg": "same bytes as f.jpg; keep one of them",
        "f.jpg": "same bytes as d.jpg; keep one of them",
    }


def test_links_that_leave_the_dataset_are_found_for_image_and_mask(table: Table) -> None:
    samples = table({"image_outside": True, "mask_outside": True, **UNREAD}, {**NO_MASK, "image_outside": True})
    assert found(samples)[:2] == [("a.jpg", "outside_root"), ("a_mask.png", "outside_root")]


def test_masks_of_one_label_are_named(table: Table) -> None:
    samples = table({"labels": [0]}, {"labels": [28]}, {"labels": [28], **NO_IMAGE})
    context = Context(names={28: "dermis"})
    assert found(samples[:2], context) == [("a_mask.png", "zero_mask"), ("b_mask.png", "constant_mask")]
    assert message(samples[1:2], context) == (
        "every pixel is 28 (dermis); check that one label is meant for the whole patch"
    )
    assert found(samples[2:]) == [("c_mask.png", "constant_mask"), ("c_mask.png", "orphan_mask")]


def test_messages_stay_on_one_line_whatever_names_hold(table: Table) -> None:
    samples = table({"image_digest": "1", "image_path": "x\r\ny.jpg"}, {"image_digest": "1", "labels": [3]})
    findings = judge_all(samples, Context(hashed=True, names={3: "fat\ntissue"}))
    assert findings["message"].str.contains(r"[\r\n]").sum() == 0


ENTRIES = [
    {"colour": colour, "pixels": 9, "runs": 3, "border": 1, "blended": 0, "index": index}
    for colour, index in [(0, 0), (0, 1), (0xFFFFFF, 0), (0xFFFFFF, 1), (0xFF0000, 2), (0x808080, None)]
]


@st.composite
def arbitrary_samples(draw: st.DrawFn) -> pl.DataFrame:
    """Rows as scanning and reading could give them, and many that they could not."""
    texts = st.sampled_from(["jpeg", "png", "gray16", "rgb", "palette", "x y", "\n"])
    numbers = st.sampled_from([0, 1, 2, 3, 16, 200, 4000])
    kinds = {pl.String(): texts, pl.Boolean(): st.booleans(), pl.UInt8(): st.integers(0, 9)}
    kinds[LOOK] = st.sampled_from([MASK_LOOK, TISSUE, GLASS])
    rows = []
    for number in range(draw(st.integers(0, 12))):
        row: dict[str, object] = {}
        for name, kind in SAMPLES.items():
            values = kinds.get(kind, numbers)
            row[name] = draw(values if kind == pl.Boolean else st.none() | values)
        row["colours"] = draw(st.none() | st.lists(st.sampled_from(ENTRIES), unique_by=str, max_size=3))
        labels = draw(
            st.none() | st.lists(st.sampled_from([0, 1, 20, 60, 120, 180, 240, 255, 65535]), unique=True)
        )
        row["labels"] = None if labels is None else sorted(labels)
        row["pixels"] = None if labels is None else [draw(numbers) for _ in labels]
        row["key"] = str(number)
        has_image, has_mask = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
        row["image_path"] = f"image{number}.jpg" if has_image else None
        row["mask_path"] = f"mask{number}.jpg" if has_mask else None
        rows.append(row)
    return pl.DataFrame(rows, schema=SAMPLES)


@settings(max_examples=25, deadline=None)
@given(
    arbitrary_samples(),
    st.none() | st.frozensets(st.sampled_from([0, 1, 20, 60, 255])),
    st.booleans(),
    st.randoms(),
)
def test_any_table_gives_one_finding_a_file_and_code_in_any_order_of_rows(
    samples: pl.DataFrame, labels: frozenset[int] | None, hashed: bool, random: Any
) -> None:
    context = Context(labels=labels, names={60: "fat"}, hashed=hashed)
    findings = judge_all(samples, context)
    assert findings.drop("other").null_count().sum_horizontal().item() == 0
    order_of_findings = findings.select("key", "path", "code").rows()
    assert order_of_findings == sorted(set(order_of_findings))
    order = list(range(len(samples)))
    random.shuffle(order)
    assert judge_all(samples[order], context).equals(findings)
