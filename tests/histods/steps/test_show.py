"""show: files of findings with their reasons, samples with all that is known, tables, overlays, completion."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import HistodsError, audit, remap, show, split
from histods.palette import class_fill
from tests.commands import histods

MAP = """
name: two
classes: [Unknown, Tissue]
map: {Unknown: [0], Tissue: ["1-9"]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs and four kinds of damage, audited, remapped and split."""
    folder = tmp_path_factory.mktemp("show")
    root = folder / "data"
    random = np.random.default_rng(0)
    for number in range(12):
        path = root / f"slide {number % 3}" / f"p{number:02d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(f"{path}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[8:, : 4 + number] = 1 + number % 3
        Image.fromarray(mask).save(f"{path}_mask.png")
    Image.new("L", (32, 30), 1).save(root / "slide 0" / "p00_mask.png")
    (root / "slide 1" / "p01_mask.png").write_bytes(b"")
    Image.new("L", (32, 32), 2).save(root / "=cmd()_mask.png")
    (root / "slide 2" / "p02.png").write_bytes(b"x")
    (folder / "two.yml").write_text(MAP)
    audit(root, workspace=folder / "out", group_regex="^(slide .)/", workers=1)
    remap(workspace=folder / "out", map=folder / "two.yml")
    split(workspace=folder / "out", test=0.3)
    return folder


def command(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return histods("show", *words, "-w", place / "out")


def test_runs_are_compared_by_losses_and_by_settings_that_differ(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="There are no runs in .* yet; run 'histods train"):
        show("runs", workspace=tmp_path)
    for name, rate, losses in (("first", 0.1, [0.5, 0.3]), ("second", 0.2, [0.9, float("nan")])):
        run = tmp_path / "runs" / name
        (run / "checkpoints" / "step-2").mkdir(parents=True)
        (run / "checkpoints" / "latest").write_text("step-2\n")
        (run / "checkpoints" / "step-2" / "state.json").write_text('{"step": 2}')
        (run / "config.yaml").write_text(f"run: {{steps: 4}}\ndiffusion: {{lr: {rate}}}\n")
        lines: list[dict[str, object]] = [
            {"kind": "train", "step": step, "loss": loss, "timing": {"images_per_second": 7.5}}
            for step, loss in enumerate(losses, start=1)
        ]
        lines += [{"kind": "validation", "step": step, "ema": ema} for step, ema in ((1, 0.25), (2, 0.5))]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tr')
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "config.yaml").write_text("run: [")
    runs, settings = show("runs", workspace=tmp_path).tables
    columns = runs.rows.columns
    known = [dict(zip(columns, row, strict=True)) for row in runs.rows.iter_rows()]
    assert [row["run"] for row in known] == ["first", "second", "torn"]
    assert known[0] == {
        "run": "first", "step": 2, "steps": 4, "loss": 0.4, "best": 0.25, "best_step": 1, "images_per_second": 7.5,
    }  # fmt: skip
    assert (known[1]["loss"], known[2]["step"]) == (0.9, None)
    assert ("optimizer.lr", "0.1", "0.2", "-") in settings.rows.rows()
    shown = histods("show", "runs", "-w", tmp_path)
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "histods sample --run first --masks MASKS" in shown.stdout


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("size_mismatch", "slide 0/p00_mask.png"),
        ("unreadable_mask", "slide 1/p01_mask.png"),
        ("unreadable_image", "slide 2/p02.png"),
        ("orphan_mask", "=cmd()_mask.png"),
        ("constant_mask", "=cmd()_mask.png"),
    ],
)
def test_every_file_of_a_finding_has_its_reason(place: Path, code: str, path: str) -> None:
    result = show(code, workspace=place / "out")
    (table,) = result.tables
    expected = pl.read_parquet(place / "out" / "findings.parquet").filter(pl.col("code") == code)
    assert table.rows["path"].to_list() == expected["path"].to_list()
    assert path in table.rows["path"].to_list()
    assert table.rows["message"].to_list() == expected["message"].to_list()


def test_findings_are_also_a_csv_file_that_no_spreadsheet_computes(place: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((place / "out" / "findings.csv").read_text())))
    findings = pl.read_parquet(place / "out" / "findings.parquet")
    assert [row["code"] for row in rows] == findings["code"].to_list()
    assert [row["message"] for row in rows] == findings["message"].to_list()
    assert "'=cmd()_mask.png" in {row["path"] for row in rows}


@pytest.mark.parametrize(
    "name", ["slide 1/p04", "slide 1/p04.png", "slide 1/p04_mask.png", "./slide 1/p04.png", "ABSOLUTE"]
)
def test_a_sample_is_found_by_key_or_path_with_all_that_is_known(place: Path, name: str) -> None:
    wanted = str(place / "data" / "slide 1" / "p04.png") if name == "ABSOLUTE" else name
    result = show(wanted, workspace=place / "out")
    tables = {table.title: table for table in result.tables}
    facts = tables["Sample"].facts
    assert facts is not None
    assert (facts["key"], facts["group"], facts["width"]) == ("slide 1/p04", "slide 1", 32)
    assert facts["split"] in ("train", "test")
    assert tables["Labels"].rows.select("label", "pixels").rows() == [(0, 832), (2, 192)]
    assert tables["Classes of two"].rows["name"].to_list() == ["Unknown", "Tissue"]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("size_mismach", "size_mismatch"),
        ("label", "labels"),
        ("p04", "slide 1/p04"),
        ("slide 1/p4", "slide 1/p"),
        ("clases", "classes"),
    ],
)
def test_an_unknown_word_is_one_line_with_near_ones(place: Path, word: str, near: str) -> None:
    with pytest.raises(HistodsError, match=f"There is no finding, sample or table named {word}; .*{near}"):
        show(word, workspace=place / "out")


def test_formats_hold_the_same_rows(place: Path) -> None:
    for what in ("labels", "classes", "split", "orphan_mask"):
        document = json.loads(command(place, what, "--format", "json").stdout)
        comma = command(place, what, "--format", "csv").stdout
        tables = [list(csv.DictReader(io.StringIO(part))) for part in comma.split("\n\n")]
        assert [len(rows) for rows in tables] == [len(rows) for rows in document["tables"].values()]
        shown = command(place, what)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert all(str(next(iter(row.values()))).strip("'") in shown.stdout for rows in tables for row in rows)


def test_overlays_show_labels_in_the_colours_of_charts_and_are_bounded(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    result = show("slide 1/p04", workspace=place / "out", open=folder)
    pixels = np.asarray(Image.open(result.overlays[0])).astype(int)
    assert pixels.shape == (32, 32 + 8 + 32, 3)
    image, overlay = pixels[:, :32], pixels[:, 40:]
    assert (image[:8] == overlay[:8]).all()  # label 0 stays as it is
    face = np.array(tuple(bytes.fromhex(class_fill(2).face[1:])))
    assert abs(overlay[20, 2] - (0.55 * image[20, 2] + 0.45 * face)).max() <= 1
    result = show("orphan_mask", workspace=place / "out", open=folder, limit=1)
    assert (len(result.overlays), result.not_drawn) == (1, ())
    broken = show("unreadable_image", workspace=place / "out", open=folder)
    assert np.asarray(Image.open(broken.overlays[0])).shape == (32, 32, 3)  # the mask alone
    with pytest.raises(HistodsError, match="--open"):
        show("orphan_mask", workspace=place / "out", open=place / "data" / "x")


def test_the_shell_asks_the_program(place: Path) -> None:
    environment = {
        **os.environ,
        "HISTODS_WORKSPACE": str(place / "out"),
        "_HISTODS_COMPLETE": "complete_bash",
        "COMP_WORDS": "histods show unre",
        "COMP_CWORD": "2",
    }
    start = "import sys; sys.argv = ['histods']; from histods.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", start], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["unreadable_image", "unreadable_mask"], result.stderr
