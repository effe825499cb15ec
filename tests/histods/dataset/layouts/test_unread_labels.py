from __future__ import annotations

import pytest

from histods.checks import Context
from histods.checks.missing_mask import CHECK
from histods.dataset.layouts import Layout, pair, with_unread_labels


def found(names: list[str]) -> dict[str, str | None]:
    samples = with_unread_labels(pair(names, Layout(kind="suffix")).samples, names)
    return dict(samples.select("image_path", "unread_labels").iter_rows())


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/x1.png", "masks/x1.npy"),
        ("x1.jpg", "x1_mask.npy"),
        ("Train/Images/train_1.png", "Train/Labels/train_1.mat"),
        ("img/x1.jpg", "ann/x1.jpg.json"),
        ("JPEGImages/x1.jpg", "Annotations/x1.XML"),
        ("Tissue Images/TCGA-18.tif", "Annotations/TCGA-18.xml"),
        ("tiles/x1.png", "tiles/x1-labels.geojson"),
        ("X1.JPG", "x1_seg.npz"),
    ],
)
def test_a_file_of_an_unread_format_with_an_image_s_name_is_named(image: str, labels: str) -> None:
    assert found([image, labels])[image] == labels


@pytest.mark.parametrize(
    "names",
    [
        ["x1.jpg", "dataset.json"],
        ["x1.jpg", "x10.npy"],
        ["x1.jpg", "x1.txt"],
        ["a/x1.jpg", "b/x1.jpg", "masks/x1.npy"],
        ["x1.jpg", "a/x1.npy", "b/x1.npy"],
    ],
)
def test_of_other_files_nothing_is_said(names: list[str]) -> None:
    assert set(found(names).values()) == {None}


def test_of_images_with_a_mask_nothing_is_said() -> None:
    assert found(["x1.jpg", "x1_mask.png", "x1.json", "x2.jpg"]) == {"x1.jpg": None, "x2.jpg": None}


def test_arrays_come_before_outlines() -> None:
    assert found(["x1.jpg", "a/x1.json", "b/x1.npy"])["x1.jpg"] == "b/x1.npy"


@pytest.mark.parametrize(("suffix", "advice"), [("npy", "numpy.load"), ("mat", "loadmat"), ("xml", "outlines")])
def test_the_missing_mask_names_the_file_and_how_to_convert_it(suffix: str, advice: str) -> None:
    names = ["a/x1.jpg", f"b/x1.{suffix}", "a/x2.jpg"]
    samples = with_unread_labels(pair(names, Layout(kind="suffix")).samples, names)
    messages = dict(CHECK.judge(samples, Context()).select("key", "message").iter_rows())
    assert f"b/x1.{suffix}, and .{suffix} is not read; convert it to a PNG" in messages["a/x1"]
    assert advice in messages["a/x1"]
    assert "convert" not in messages["a/x2"]
