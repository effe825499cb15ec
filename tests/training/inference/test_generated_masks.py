"""What can be asked for: proportions and sizes, and what is said where they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histods.errors import HistodsError
from training.inference.generated_masks import MaskFolder, complete, parse_proportions, parse_size

CLASSES = ("Unknown", "Carcinoma", "Dermis", "Fat, lobular", "A=B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Carcinoma=0.3,Dermis=0.5", {"Carcinoma": 0.3, "Dermis": 0.5}),
        (" dermis = .5 , CARCINOMA=3e-1, ", {"Carcinoma": 0.3, "Dermis": 0.5}),
        ("Fat, lobular=0.2,Dermis=0", {"Dermis": 0.0, "Fat, lobular": 0.2}),
        ("A=B=0.25", {"A=B": 0.25}),
        ("Carcinoma=0.4,Dermis=0.6", {"Unknown": 0, "Carcinoma": 0.4, "Dermis": 0.6, "Fat, lobular": 0, "A=B": 0}),
        ("", {}),
    ],
)
def test_proportions_are_read(text: str, expected: dict[str, float]) -> None:
    assert parse_proportions(text, CLASSES) == expected
    assert list(parse_proportions(text, CLASSES)) == list(expected)
    assert parse_proportions(expected, CLASSES) == expected


def test_tenths_may_sum_to_one() -> None:
    classes = [f"c{number}" for number in range(11)]
    found = parse_proportions(dict.fromkeys(classes[:10], 0.1), classes)
    assert found["c10"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Carcinom=0.3", "the class 'Carcinom', which does not exist: did you mean 'Carcinoma'?"),
        ("Carcinoma=0.7,Dermis=0.5", "sum to 1.2; lower them"),
        ("Carcinoma=0.3,carcinoma=0.1", "'Carcinoma' twice"),
        ("Carcinoma=-0.1", "the share -0.1; it must be a number from 0 to 1"),
        ("Carcinoma=nan", "the share nan; it must be"),
        ("Carcinoma=30%", "the share 30%; it must be"),
        ("Carcinoma=", "the share ; it must be"),
        ("Carcinoma", "is not NAME=SHARE,NAME=SHARE"),
        ("Unknown=0.1,Carcinoma=0.1,Dermis=0.1,Fat, lobular=0.1,A=B=0.1", "name every class but sum to 0.5"),
    ],
)
def test_wrong_proportions_are_said(text: str, message: str) -> None:
    with pytest.raises(HistodsError) as caught:
        parse_proportions(text, CLASSES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_are_read() -> None:
    assert parse_size("512") == (512, 512)
    assert parse_size("4096x2048") == (2048, 4096)


@pytest.mark.parametrize("text", ["", "0", "64x0", "12.5", "-8", "ax4", "64x64x64", "99999x99999", "1e3"])
def test_wrong_sizes_are_said(text: str) -> None:
    with pytest.raises(HistodsError, match="it must be a side or WIDTHxHEIGHT"):
        parse_size(text)


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    MaskFolder(tmp_path / "masks", {"seed": 0}).claim()
    MaskFolder(tmp_path / "masks", {"seed": 0}).claim()
    with pytest.raises(HistodsError, match="holds masks of another recipe"):
        MaskFolder(tmp_path / "masks", {"seed": 1}).claim()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("a file where the folder should be")
    with pytest.raises(HistodsError, match=r"generated_00000\.png could not be written"):
        MaskFolder(tmp_path / "masks", {}).write(0, np.zeros((4, 4), np.uint8))


SHARES = np.array([[0.5, 0.5, 0, 0], [0.2, 0, 0.8, 0], [0.1, 0.3, 0.3, 0.3], [0, 0, 1, 0]], np.float32)
NAN = float("nan")


def test_without_a_wish_the_proportions_are_those_of_training_masks_each_as_often() -> None:
    drawn = [complete(np.full(4, NAN), SHARES, seed) for seed in range(400)]
    counts = [sum(np.allclose(one, row) for one in drawn) for row in SHARES]
    assert sum(counts) == 400
    assert min(counts) > 60


@pytest.mark.parametrize(
    "wanted", [(0.3, NAN, NAN, NAN), (NAN, 0.0, 0.5, NAN), (0.25, 0.25, 0.5, 0.0), (0.9, NAN, 0, NAN)]
)
def test_proportions_asked_for_are_kept_and_all_sum_to_one(wanted: tuple[float, ...]) -> None:
    for seed in range(8):
        found = complete(np.array(wanted), SHARES, seed)
        known = ~np.isnan(wanted)
        assert np.array_equal(found[known], np.array(wanted)[known])
        assert found.sum() == pytest.approx(1)
        assert np.array_equal(found, complete(np.array(wanted), SHARES, seed))


def test_free_classes_follow_the_masks_that_are_nearest() -> None:
    """Where the first class has a half, the second has the rest; 16 others have another companion and no first."""
    shares = np.array([[0.5, 0.5, 0]] * 16 + [[0, 0, 1]] * 16, np.float32)
    assert np.allclose(complete(np.array([0.4, NAN, NAN]), shares, 0), [0.4, 0.6, 0])


def test_what_no_training_mask_has_stays_free() -> None:
    found = complete(np.array([0.5, 0.2, 0.2, NAN]), SHARES[:2], 0)
    assert np.isnan(found[3])
