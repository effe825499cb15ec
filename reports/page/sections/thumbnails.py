"""Pictures of some samples of each finding, the worst first, in an order that is the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from histods.checks import CHECKS
from histods.dataset.manifest import read_table, to_polars
from histods.errors import HistodsError
from histods.printing import escaped
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from reports.page.pictures import Pictures
    from reports.page.source import Source

PER_CODE = 12
"""Samples that are shown of each code."""
_MEASURED = ("path", "width", "height", "specks", "runs", "off_palette", "colours_total")
_AREA = pl.col("width").cast(pl.Float64) * pl.col("height").cast(pl.Float64)
_MASK_AREA = pl.col("mask_width").cast(pl.Float64) * pl.col("mask_height").cast(pl.Float64)
_BYTES = pl.col("image_bytes").cast(pl.Float64)
_LABELS = pl.col("labels").list.len().cast(pl.Float64)
_AGREEMENT = pl.coalesce(
    pl.col("message").str.extract(r" instead of (-?\d\.\d\d); "),
    pl.col("message").str.extract(r": agreement (-?\d\.\d\d), where "),
).cast(pl.Float64)

WORST: dict[str, tuple[str, pl.Expr]] = {
    "size_mismatch": ("by how much the sizes differ", (_MASK_AREA / _AREA).log().abs()),
    "mixed_sizes": ("by how much the size differs from most", (_AREA / _AREA.median()).log().abs()),
    "speckled_mask": ("by the share of specks", pl.col("specks") / pl.col("runs")),
    "off_palette": ("by the pixels of unknown colours", pl.col("off_palette").cast(pl.Float64)),
    "palettes_differ": ("by the number of labels", _LABELS),
    "scaled_mask": ("by the number of labels", _LABELS),
    "lossy_mask": ("by the number of labels", _LABELS),
    "wide_mask": ("by the number of labels", _LABELS),
    "unknown_label": ("by the pixels of unknown labels", pl.col("unnamed").cast(pl.Float64)),
    "not_an_index_mask": ("by the number of colours", pl.col("colours_total").cast(pl.Float64)),
    "unreadable_image": ("smallest file first", -_BYTES),
    "unreadable_mask": ("smallest file first", -pl.col("mask_bytes").cast(pl.Float64)),
    "misplaced_mask": ("by how little mask and image agree", -_AGREEMENT),
    "duplicate_image": ("by the number of copies", pl.col("copies").cast(pl.Float64)),
    "zero_mask": ("largest image file first, which has most to label", _BYTES),
    "constant_mask": ("largest image file first, which has most to label", _BYTES),
    "missing_mask": ("largest image file first, which has most to label", _BYTES),
}
"""How bad a finding is, in words and as a number of the sample; others rank by the findings of their sample."""
_BY_FINDINGS = "by the number of findings of the sample"


def build(source: Source, pictures: Pictures) -> Content:
    """Choose samples of each code, and ask for their pictures."""
    if source.manifest is None or source.findings is None:
        command = source.audit_command
        return Content(missing=Missing(reason="There is no audit whose samples can be shown.", command=command))
    if not len(source.findings):
        return Content(missing=Missing(reason="The audit found no problems, so there is nothing to show."))
    problems: list[str] = []
    samples = _measured(source, problems)
    galleries = []
    for check in CHECKS:
        found = source.findings.filter(pl.col("code") == check.code)
        if not len(found):
            continue
        how, rank = WORST.get(check.code, (_BY_FINDINGS, pl.lit(0.0)))
        rows = choose_worst(found, samples, rank)
        galleries.append(
            {
                "code": check.code,
                "severity": check.severity,
                "summary": check.summary.replace("`", ""),
                "total": len(found),
                "order": how,
                "cards": [_card(row, place, pictures) for place, row in enumerate(rows.iter_rows(named=True))],
            }
        )
    return Content(
        values={"galleries": galleries},
        data={"galleries": galleries},
        problems=tuple(problems),
    )


def choose_worst(found: pl.DataFrame, samples: pl.DataFrame, rank: pl.Expr) -> pl.DataFrame:
    """The worst findings of one code: by rank, then by the findings of the sample, then by path."""
    joined = found.join(samples, on="key", how="left", maintain_order="left")
    ranked = joined.with_columns(rank=rank.fill_nan(None).fill_null(float("-inf")))
    order = ranked.sort("rank", "findings", "path", descending=[True, True, False], nulls_last=True)
    return order.head(PER_CODE)


def _measured(source: Source, problems: list[str]) -> pl.DataFrame:
    """Samples with what ranks them: measurements of the audit, copies, findings."""
    assert source.manifest is not None  # noqa: S101 - `build` has seen to it
    assert source.findings is not None  # noqa: S101 - `build` has seen to it
    samples = source.manifest.unique("key", keep="first", maintain_order=True)
    masks = _read_measurements(source, problems)
    samples = samples.join(masks, left_on="mask_path", right_on="path", how="left", maintain_order="left")
    samples = samples.join(
        source.findings.group_by("key").agg(findings=pl.len()), on="key", how="left", maintain_order="left"
    )
    copies = samples.drop_nulls("image_digest").group_by("image_digest").agg(copies=pl.len())
    samples = samples.join(copies, on="image_digest", how="left", maintain_order="left")
    return samples.join(_unnamed(samples, source), on="key", how="left", maintain_order="left")


def _unnamed(samples: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Pixels of each sample's labels that the labels file does not name."""
    named = list(source.names.names)
    rows = samples.select("key", "labels", "pixels").drop_nulls("labels")
    rows = rows.explode("labels", "pixels", empty_as_null=False)
    unknown = rows.filter(~pl.col("labels").is_in(named)) if named else rows.head(0)
    return unknown.group_by("key").agg(unnamed=pl.col("pixels").cast(pl.Int64).sum())


def _read_measurements(source: Source, problems: list[str]) -> pl.DataFrame:
    """What the audit measured of masks; no rows where the file is missing or damaged."""
    path = source.space.measurements
    schema = dict.fromkeys(_MEASURED[1:], pl.Int64)
    empty = pl.DataFrame(schema={"path": pl.String, **schema})
    frame = empty
    try:
        if path.is_file():
            frame = to_polars(read_table(path, _MEASURED)).with_columns(pl.col(*_MEASURED[1:]).cast(pl.Int64))
    except (HistodsError, pl.exceptions.PolarsError) as error:
        problems.append(f"Findings are not in order of their measurements: {error}")
    frame = frame.unique("path", keep="first")
    return frame.rename({"width": "mask_width", "height": "mask_height"})


def _card(row: dict[str, Any], place: int, pictures: Pictures) -> dict[str, Any]:
    """One finding: its words, and the number of its picture."""
    files = row["image_path"], row["mask_path"]
    pixels = (row["width"] or 0) * (row["height"] or 0)
    if row["path"] not in files:
        files = row["path"], None
    return {
        "path": escaped(row["path"]),
        "key": escaped(row["key"]),
        "message": escaped(row["message"]),
        "group": None if row["group"] is None else escaped(row["group"]),
        "picture": pictures.ask(files[0], files[1], pixels, place),
    }


SECTION = Section(name="thumbnails", title="Pictures of findings", build=build)
