"""Near-duplicates in several splits: counted, warned of and shown, and gone when one of each set is left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import Manifest, audit, fix, split
from histods.io.workspace import Workspace
from reports.page.pictures import Pictures
from reports.page.sections.split import build
from reports.page.source import read_source
from tests.commands import histods
from tests.reports.page.workspaces import write_pair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve pairs of textured patches; each of the first four has a copy compressed again."""
    folder = tmp_path / "data"
    for number in range(12):
        write_pair(folder / f"p{number:02d}.png", number, size=128)
    for number in range(4):
        image = Image.open(folder / f"p{number:02d}.png")
        image.save(folder / f"q{number:02d}.jpg", quality=60)
        mask = Image.open(folder / f"p{number:02d}_mask.png")
        Image.fromarray(np.asarray(mask)[::-1]).save(folder / f"q{number:02d}_mask.png")
    return folder


def test_sets_have_the_key_of_their_first_image(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    audit(root, workspace=out, quality=True, workers=1)
    table = Manifest.read(out / "manifest.parquet").to_polars()
    expected = {key: f"p{key[1:]}" if key[1:] < "04" else None for key in table["key"]}
    assert dict(table.select("key", "looks_like").iter_rows()) == expected
    audit(root, workspace=out, workers=1)
    assert Manifest.read(out / "manifest.parquet").to_polars()["looks_like"].null_count() == 16


def test_what_is_in_several_splits_is_said_until_it_is_mended(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    audit(root, workspace=out, quality=True, workers=1)
    check = split(workspace=out, test=0.5, seed=1).check
    assert check.sound  # they are no proof against the split
    assert check.likenesses == 4
    sides = dict(pl.read_parquet(out / "split.parquet").iter_rows())
    apart = sum(sides[f"p{number:02d}"] != sides[f"q{number:02d}"] for number in range(4))
    assert check.straddling_likenesses == apart > 0
    shown = histods("split", "--test", "0.5", "--seed", "1", "-w", out)
    assert f"warning: {apart} of 4 sets of near-duplicates are in more than one split" in " ".join(
        shown.stdout.split()
    )
    document = json.loads(histods("split", "--test", "0.5", "--seed", "1", "-w", out, "--json").stdout)
    assert document["check"]["near_duplicates_in_several_splits"] == apart
    source = read_source(Workspace(out))
    values = build(source, Pictures(source)).values
    assert len(values["straddling"]) == 2 * apart
    assert {"sound": False, "text": f"{apart} of 4 sets of near-duplicates are in several splits"} in values[
        "proof"
    ]
    fix("near_duplicate", to=tmp_path / "away", apply=True, workspace=out)
    audit(root, workspace=out, quality=True, workers=1)
    check = split(workspace=out, test=0.5, seed=1).check
    assert (check.likenesses, check.straddling_likenesses, check.samples) == (0, 0, 12)


def test_what_nobody_looked_for_is_unknown(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    audit(root, workspace=out, workers=1)
    assert split(workspace=out, test=0.5).check.likenesses is None
    source = read_source(Workspace(out))
    proof = build(source, Pictures(source)).values["proof"]
    assert [line["sound"] for line in proof if "near-duplicates" in line["text"]] == [None]
