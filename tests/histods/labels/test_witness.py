"""dataset.csv as a witness: what it says is compared with the masks, read as whatever it plainly is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pytest

from histods import audit, remap
from histods.labels.dataset_csv import read_dataset_csv
from histods.labels.witness import hear_dataset_csv

if TYPE_CHECKING:
    from pathlib import Path

MASKS = {
    "a": [0, 3],
    "b": [0, 3, 16],
    "sub/c": [0, 28],
    "d": [28, 41],
    "e": [0],
    "f": [1, 2],
    "g": [43],
    "h": [0, 5, 43],
}
TEN = {"a": "0 3", "b": "0 3", "sub/c": "0 4", "d": "4 5", "e": "0", "f": "1 2", "g": "6", "h": "0 6 9"}
TWO = {"a": "0 1", "b": "0 1", "sub/c": "0", "d": "0", "e": "0", "f": "0", "g": "0", "h": "0 1"}
PLAIN = {key: " ".join(map(str, labels)) for key, labels in MASKS.items()}
NO_ZERO = {key: " ".join(str(label) for label in labels if label) for key, labels in MASKS.items()}
ADVICE = "; correct the list, or write it again with 'histods remap --dataset-csv FILE'"


def lines(rows: dict[str, str]) -> str:
    return "".join(f'"{name}","{labels}"\n' for name, labels in rows.items())


def samples(masks: dict[str, list[int]] | None = None) -> pl.DataFrame:
    """What an audit has measured of these masks; `u` is an image without one."""
    rows: list[dict[str, object]] = [
        {"key": key, "image_path": f"{key}.jpg", "mask_path": f"{key}_mask.png", "labels": labels}
        for key, labels in (masks or MASKS).items()
    ]
    rows.append({"key": "u", "image_path": "u.jpg", "mask_path": None, "labels": None})
    text = dict.fromkeys(("key", "image_path", "mask_path", "mask_error", "mask_not_index"), pl.String())
    return pl.DataFrame(rows, schema={**text, "labels": pl.List(pl.UInt16)})


def judge(root: Path, text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Findings, path -> message without the usual advice, and notes for a dataset.csv with this text."""
    from histods.checks import Context
    from histods.checks.labels_differ import judge as run

    (root / "dataset.csv").write_text(text)
    rows, witness, notes = hear_dataset_csv(samples(), root, None)
    found = run(rows, Context(witness=witness))
    assert found["path"].is_unique().all()
    assert all("; " in message for message in found["message"])
    return {
        path: message.replace(" --map label_map_10.yml", "").removesuffix(ADVICE)
        for path, message in found["path", "message"].rows()
    }, notes


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        (lines(PLAIN), "labels"),
        ("name,labels\n" + lines(PLAIN), "labels"),
        ("Name, Labels\r\n" + lines(PLAIN).replace("\n", "\r\n"), "labels"),
        ("split,labels,name\n" + "".join(f"train,{row},{key}\n" for key, row in PLAIN.items()), "labels"),
        (lines({f"{key}.jpg": row for key, row in PLAIN.items()}), "labels"),
        (lines({f"./{key}": row.replace(" ", ", ") for key, row in PLAIN.items()}), "labels"),
        (lines({key.rpartition("/")[2]: row for key, row in PLAIN.items()}), "labels"),
        ("\ufeff" + lines(dict(reversed(PLAIN.items()))), "labels"),
        (lines(PLAIN | {"u": "0"}), "labels"),
        (lines(PLAIN | {"u": ""}), "labels"),
        (lines(NO_ZERO), "labels, label 0 left out"),
        (lines(TEN), "classes of label_map_10.yml"),
        (lines(TWO), "classes of mine.yml"),
    ],
)
def test_a_list_that_agrees_has_no_finding_however_it_is_written(tmp_path: Path, text: str, reading: str) -> None:
    (tmp_path / "mine.yml").write_text("Unknown: [0, 1, 2, 28, 41, 43]\ntumour: [3, 5, 16]\n")
    (tmp_path / "labels.yml").write_text("0: none\n3: tumour\n")
    found, notes = judge(tmp_path, text)
    assert found == {}
    assert notes == (f"dataset.csv: 8 of 8 rows agree with the masks (read as {reading}).",)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (PLAIN | {"a": "0 4"}, {"a_mask.png": "dataset.csv lists labels 0, 4, the mask holds 0, 3"}),
        (PLAIN | {"a": "0"}, {"a_mask.png": "dataset.csv lists labels 0, the mask holds 0, 3"}),
        (PLAIN | {"d": "28 41 43"}, {"d_mask.png": "dataset.csv lists labels 28, 41, 43, the mask holds 28, 41"}),
        (
            TEN | {"h": "0 6"},
            {"h_mask.png": "dataset.csv lists classes 0, 6, the mask holds 0, 6, 9 of label_map_10.yml"},
        ),
        (PLAIN | {"x": "0 3", "y": "1"}, {"dataset.csv": "2 rows name no image of the dataset: x, y"}),
        (PLAIN | {"x": "0 3"}, {"dataset.csv": "1 row names no image of the dataset: x"}),
        ({key: row for key, row in PLAIN.items() if key != "g"}, {"g.jpg": "dataset.csv has no row for it"}),
        ({"a": "0 3"}, {"dataset.csv": "7 of 8 images with masks have no row"}),
        (
            PLAIN | {"u": "0 3"},
            {"u.jpg": "dataset.csv lists labels 0, 3, but the image has no mask; add the mask, or " + ADVICE[2:]},
        ),
        (PLAIN | {"b": "3 70000"}, {"b.jpg": "dataset.csv does not list numbers from 0 to 65535"}),
        (
            dict.fromkeys(PLAIN, "77 78"),
            {
                "dataset.csv": "8 of 8 rows differ from the masks, both as labels and as classes of each label "
                "map in the folder or bundled"
            },
        ),
        (
            {f"other_{key}": row for key, row in PLAIN.items()},
            {
                "dataset.csv": "8 rows name no image of the dataset: other_a, other_b, other_sub/c, other_d, "
                "other_e, other_f, other_g, other_h and 8 of 8 images with masks have no row"
            },
        ),
    ],
)
def test_each_difference_is_one_finding(tmp_path: Path, rows: dict[str, str], expected: dict[str, str]) -> None:
    found, notes = judge(tmp_path, lines(rows))
    assert found == {path: message.removesuffix(ADVICE) for path, message in expected.items()}
    assert len(notes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\nb\n",
        "image,mask\na.jpg,a_mask.png\n",
        "image,mask,group,split\na.jpg,a_mask.png,s1,train\n",
        "a,tumour\nb,stroma\n",
        "id,age\n1,seventy\n2,eighty\n",
        "x,y,z\n1,2,3\n",
        'a,"0 3\n',
        "a,0.5\nb,0.7\n",
        "a;0 3\nb;0 3\n",
        "\0\1\2",
    ],
)
def test_a_table_of_something_else_is_passed_over_once(tmp_path: Path, text: str) -> None:
    found, notes = judge(tmp_path, text)
    assert found == {}
    assert notes == ("Skipped: dataset.csv, which is not a list of names and labels.",)


def test_without_a_list_nothing_is_done(tmp_path: Path) -> None:
    rows = samples()
    (tmp_path / "data").mkdir()
    assert hear_dataset_csv(rows, tmp_path / "data", None) == (rows, None, ())
    (tmp_path / "dataset.csv").write_text(lines(PLAIN))
    assert hear_dataset_csv(rows, tmp_path, tmp_path / "dataset.csv") == (rows, None, ())  # the file of pairs
    (tmp_path / "data" / "dataset.csv").symlink_to(tmp_path / "dataset.csv")
    assert hear_dataset_csv(rows, tmp_path / "data", None) == (rows, None, ())  # a link out of the dataset


def test_an_audit_compares_the_list_that_remap_writes(tmp_path: Path) -> None:
    root, space = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        tissue = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"p{number}.jpg"), tissue)
        mask = np.zeros((32, 32), np.uint8)
        mask[:16], mask[16:, 16:] = 3 + number, 28
        cv2.imwrite(str(root / f"p{number}_mask.png"), mask)
    assert "labels_differ" not in audit(root, workspace=space, workers=1).findings
    remap(workspace=space, map="label_map_10.yml", dataset_csv=tmp_path / "list.csv")
    text = (tmp_path / "list.csv").read_text()
    (root / "dataset.csv").write_text(text)
    result = audit(root, workspace=space, workers=1)
    assert result.findings == {}
    assert result.notes == (
        "dataset.csv: 6 of 6 rows agree with the masks (read as classes of label_map_10.yml).",
    )
    assert audit(root, workspace=space, workers=1).notes == result.notes  # nothing changed
    (root / "dataset.csv").write_text(text.replace("p0,0 3 4", "p0,0 4"))
    result = audit(root, workspace=space, workers=1)
    assert result.files_read == 0
    assert [(finding.code, finding.path) for finding in result.iter_findings()] == [
        ("labels_differ", "p0_mask.png")
    ]
    assert json.loads((space / "audit.json").read_text())["findings"] == {"labels_differ": 1}


def test_a_large_list_at_odds_with_the_dataset_is_one_finding(tmp_path: Path) -> None:
    (tmp_path / "dataset.csv").write_text("".join(f"{number},0 1\n" for number in range(1000)))
    assert read_dataset_csv(tmp_path / "dataset.csv") is not None
    masks = {str(number): [2, 3] for number in range(1000)}
    rows, witness, _ = hear_dataset_csv(samples(masks), tmp_path, None)
    assert witness is not None
    assert not witness.is_understood
    assert rows.height == 1001
