"""Masks to sample for: found where people keep them, and refused by name before anything is begun."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import remap
from histods.errors import HistodsError, StaleFileError
from histods.io.workspace import Workspace
from histods.labels.label_map_file import read_label_map
from training.inference.mask_inputs import MaskReader, check_masks, choose_map, find_masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.conftest import Site

THREE = "name: three\nclasses: [Unknown, Tumour, Stroma]\nmap: {Unknown: [0], Tumour: ['2-9'], Stroma: [600]}\n"


def write(path: Path, pixels: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((16, 16), np.uint8) if pixels is None else pixels).save(path)
    return path


def filled(value: int, size: tuple[int, int] = (16, 16), dtype: type = np.uint8) -> Any:
    mask: NDArray[Any] = np.zeros(size, dtype)
    mask[0, :4] = value
    return mask


def test_in_a_folder_of_pairs_the_masks_are_those_that_say_so(tmp_path: Path) -> None:
    for name in ("x.jpg", "y.png", "deep/z.tif", "x_mask.png", "y_mask.png", "deep/z_mask.tif"):
        write(tmp_path / name)
    named, others = find_masks(tmp_path)
    assert named == {
        "deep/z": tmp_path / "deep/z_mask.tif",
        "x": tmp_path / "x_mask.png",
        "y": tmp_path / "y_mask.png",
    }
    assert others == 3


def test_in_a_folder_of_masks_every_lossless_picture_is_one(tmp_path: Path) -> None:
    for name in ("b.png", "a.dots.in.name_79.PNG", "sub/c.bmp", "photograph.jpg", ".hidden.png", ".cache/d.png"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    named, others = find_masks(tmp_path)
    assert list(named) == ["a.dots.in.name_79", "b", "sub/c"]
    assert others == 2, "the photograph and the notes"


@pytest.mark.parametrize(
    ("file", "name"), [("x_mask.png", "x"), ("x.png", "x"), ("x_mask_mask.png", "x"), ("_mask.png", "_mask")]
)
def test_one_mask_may_be_given_and_no_image_gets_a_mask_s_name(tmp_path: Path, file: str, name: str) -> None:
    path = write(tmp_path / file)
    write(tmp_path / "another.png")
    assert find_masks(path) == ({name: path}, 0)


def test_two_masks_never_share_a_name(tmp_path: Path) -> None:
    write(tmp_path / "x.png")
    write(tmp_path / "x.tif")
    with pytest.raises(HistodsError, match=r"x\.png and .*x\.tif would both give images called x; rename one"):
        find_masks(tmp_path)


def test_no_masks_is_one_line_that_says_what_masks_are(tmp_path: Path) -> None:
    write(tmp_path / "photographs/x.jpg")
    with pytest.raises(HistodsError, match=r"photographs holds 1 files, none of them a mask; give"):
        find_masks(tmp_path / "photographs")
    with pytest.raises(HistodsError, match=r"nowhere does not exist; give a mask"):
        find_masks(tmp_path / "nowhere")


def test_classes_are_read_as_they_are_stored(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.png", filled(2, dtype=np.uint16))
    palette = Image.fromarray(filled(1), mode=None)
    palette.putpalette([0, 0, 0, 200, 30, 60])
    palette.save(tmp_path / "palette.png")
    reader = MaskReader(3, 16)
    assert np.array_equal(reader.read(wide)[0], filled(2))
    assert np.array_equal(reader.read(tmp_path / "palette.png")[0], filled(1))
    assert reader.read(wide)[0].dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_class_that_the_network_does_not_know_is_named_with_its_file(tmp_path: Path, dtype: type) -> None:
    """In 16 bits 259 must not wrap to class 3."""
    value = 5 if dtype is np.uint8 else 259
    write(tmp_path / "good.png")
    write(tmp_path / "bad.png", filled(value, dtype=dtype))
    write(tmp_path / "worse.png", filled(9))
    named, _ = find_masks(tmp_path)
    with pytest.raises(HistodsError) as caught:
        check_masks(named, MaskReader(5, 16))
    assert str(caught.value) == (
        f"{tmp_path}/bad.png has labels that are not among the classes 0 to 4: {value} (4 pixels); "
        "give the label map of these masks with --map (2 masks in all cannot be used)."
    )


def test_a_size_that_the_network_cannot_halve_is_named_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.png", filled(1, (32, 48)))
    with pytest.raises(
        HistodsError, match=r"odd\.png is 48x32 px, but its sides must be multiples of 32 px; crop or pad it"
    ):
        MaskReader(3, 32).read(path)
    assert MaskReader(3, 16).read(path)[0].shape == (32, 48)


@pytest.mark.parametrize("reduce", [1, 2])
@pytest.mark.parametrize(
    ("width", "height", "multiple"),
    [(32, 64, None), (40, 200, None), (16, 104, None), (32, 33, 8), (24, 40, 16), (104, 8, 16), (100, 32, 8)],
)
def test_sides_above_the_window_need_a_smaller_multiple(
    tmp_path: Path, width: int, height: int, multiple: int | None, reduce: int
) -> None:
    """Each side by its own length: up to 32 pixels in training a multiple of 16, above that one of 8."""
    path = write(tmp_path / "x.png", filled(1, (height * reduce, width * reduce)))
    reader = MaskReader(2, 16, reduce=reduce, window=32, factor=8)
    if multiple is None:
        assert reader.read(path)[0].shape == (height, width)
    else:
        with pytest.raises(HistodsError, match=f"sides must be multiples of {multiple * reduce} px"):
            reader.read(path)


def test_a_large_mask_is_held_once(tmp_path: Path) -> None:
    side = 2048
    path = write(tmp_path / "x.png", filled(1, (side, side)))
    reader = MaskReader(2, 8)
    reader.read(path)  # imports
    tracemalloc.start()
    try:
        reader.read(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * side**2, "bytes: labels, classes, and where neighbours differ"


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_an_unreadable_mask_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = write(tmp_path / "torn.png", filled(1, (64, 64)))
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(HistodsError, match=r"torn\.png cannot be read as a mask of class indices: .*; correct it"):
        MaskReader(3, 16).read(path)


def test_colours_are_no_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "colours.png", np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    with pytest.raises(HistodsError, match=r"colours\.png cannot be read as .*: \d+ RGB colours"):
        MaskReader(3, 16).read(path)


def test_a_label_map_makes_classes_of_labels(tmp_path: Path) -> None:
    (tmp_path / "three.yml").write_text(THREE)
    label_map = read_label_map(tmp_path / "three.yml")
    mask = filled(600, dtype=np.uint16)
    mask[4] = 7
    classes, _ = MaskReader(3, 16, label_map).read(write(tmp_path / "labels.png", mask))
    assert np.array_equal(classes, np.select([mask == 600, mask == 7], [2, 1], 0))
    with pytest.raises(
        HistodsError, match=r"other\.png has labels that the label map three does not list: 1 \(4 pixels\); add"
    ):
        MaskReader(3, 16, label_map).read(write(tmp_path / "other.png", filled(1)))


def test_a_label_map_must_lead_to_the_classes_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "three.yml").write_text(THREE)
    (tmp_path / "two.yml").write_text("name: two\nclasses: [Unknown, Tumour]\nmap: {Unknown: [0], Tumour: [1]}\n")
    classes = ("Unknown", "Tumour", "Stroma")
    trained = read_label_map(tmp_path / "three.yml").digest
    assert choose_map(tmp_path / "three.yml", classes, trained).name == "three"
    assert choose_map(tmp_path / "three.yml", classes, "another").name == "three", "other labels, same classes"
    assert choose_map(tmp_path / "three.yml", ("a", "b", "c"), "").name == "three", "their names are not known"
    for given, digest in ((("a", "b", "c"), "another"), (("a", "b"), "")):
        with pytest.raises(
            HistodsError,
            match=r"^--map .*three\.yml gives the classes Unknown, .*, but the run has the classes a, b",
        ):
            choose_map(tmp_path / "three.yml", given, digest)


def test_a_mask_that_changed_since_it_was_checked_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", filled(1))
    reader = MaskReader(3, 16)
    (mask,) = check_masks({"x": path}, reader)
    assert np.array_equal(reader.read_again(mask), filled(1))
    write(path, filled(2))
    with pytest.raises(StaleFileError, match=r"x\.png has changed since it was checked"):
        reader.read_again(mask)


def test_a_machine_without_readers_of_masks_is_told_what_to_install(tmp_path: Path) -> None:
    """A lean GPU machine can still import all of it."""
    absent = ["PIL", "cv2", "kornia_rs", "simplejpeg", "polars", "typer", "rich", "xxhash", "matplotlib"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import pathlib, training.verbs.sample, training.inference.mask_inputs\n"
        f"training.inference.mask_inputs.MaskReader(3, 16).read(pathlib.Path({str(tmp_path)!r}, 'x.png'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1].startswith("histods.errors.MissingExtraError: Reading masks needs ")
    assert result.stderr.rstrip().endswith('run "pip install histods".')


def test_a_class_system_of_the_workspace_is_a_label_map(site: Site) -> None:
    remapped = remap(workspace=site.workspace, map=site.map)
    classes = tuple(row.name for row in remapped.classes)
    found = choose_map("three", classes, remapped.map_digest, Workspace(site.workspace))
    assert found.digest == remapped.map_digest


@pytest.mark.parametrize("side", [48, 49, 50])
def test_masks_are_reduced_as_in_training(tmp_path: Path, side: int) -> None:
    reader = MaskReader(3, 8, reduce=2)
    labels = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48) % 3
    if side != 48:
        with pytest.raises(HistodsError, match="multiples of 16 px"):
            reader.read(write(tmp_path / "a_mask.png", np.zeros((side, side), np.uint8)))
        return
    classes, _ = reader.read(write(tmp_path / "a_mask.png", labels))
    assert np.array_equal(classes, labels[1::2, 1::2])
