"""Bundled labels and label maps are offered where labels are evidence of them, and doubted elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods.labels.bundled_labels import doubt_bundled_map, find_bundled_labels
from histods.labels.label_map import LabelTable
from histods.labels.label_map_file import find_label_map
from tests.commands import histods

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("labels", "is_drsk"),
    [
        (range(55), True),
        (range(1, 55), True),
        (range(0, 55, 2), True),
        ([0, *range(30, 50)], True),
        ([], False),
        ([0, 1], False),
        ([0, 4, 7, 8, 9], False),
        ([0, 54], False),
        (range(20), False),
        (range(27), False),
        (range(56), False),
        ([*range(40), 255], False),
        ([*range(40), 65535], False),
    ],
)
def test_many_labels_with_high_ones_among_them_are_evidence(labels: list[int], is_drsk: bool) -> None:
    assert find_bundled_labels(labels) == ("drsk_labels.yml" if is_drsk else None)


def test_an_audit_says_that_a_bundled_file_fits_its_labels(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(root / f"{number}.jpg")
        mask = np.repeat(np.repeat(rng.permutation(64).reshape(8, 8) % 55, 8, axis=0), 8, axis=1)
        Image.fromarray(mask.astype(np.uint8)).save(root / f"{number}_mask.png")

    def printed(*more: str) -> str:
        return " ".join(histods("audit", root, "-w", out, *more).stdout.split())

    offer = f"The labels fit drsk_labels.yml: histods audit {root} --labels drsk_labels.yml -w {out}"
    assert offer.replace(" ", "") in printed().replace("\\", "").replace(" ", "")
    both = tmp_path / "both.yml"
    both.write_text("".join(f"{label}: tissue\n" for label in range(55)) + "map: {all: [1-54]}\n")
    text = printed("--labels", str(both)).replace("\\", "").replace(" ", "")
    assert "Thelabelsfit" not in text
    assert f"Next:histodsremap--map{both}-w{out}" in text  # the file holds a map as well


@pytest.mark.parametrize(
    ("names", "labels", "said"),
    [
        ({}, range(55), None),
        ({0: "tissue_unknown", 1: "background"}, [0, 1], None),
        ({}, [0, 1, 2], "nothing tells that these are the same; if they are, audit with --labels drsk_labels.yml"),
        ({0: "void", 1: "background"}, [0, 1], "where 0 is tissue_unknown; here it is void"),
        ({1: "tumour", 2: "stroma"}, [1, 2], "where 1 is background; here it is tumour"),
    ],
)
def test_a_bundled_map_is_doubted_where_labels_may_mean_other_things(
    names: dict[int, str], labels: list[int], said: str | None
) -> None:
    doubt = doubt_bundled_map(find_label_map("label_map_10.yml"), LabelTable(names=names), labels)
    if said is None:
        assert doubt is None
    else:
        assert doubt is not None
        assert said in doubt


def test_a_map_of_ones_own_is_not_doubted(tmp_path: Path) -> None:
    path = tmp_path / "label_map_10.yml"
    path.write_bytes(find_label_map("label_map_10.yml").read_bytes())
    assert doubt_bundled_map(path, LabelTable(names={}), [0, 1]) is None
