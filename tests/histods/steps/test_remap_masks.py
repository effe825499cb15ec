"""remap writes mask files: pixel by pixel, resumable, never over others."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import write_json
from histods.masks.writer import MaskTask, write_mask_files
from histods.steps.remap import remap
from tests.histods.steps.remap_sites import COLOURS, Mask, Site, classes_of, draw, make_site, save


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_written_masks_equal_the_mapped_masks_pixel_by_pixel(site: Site, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    folder = tmp_path / "masks"
    result = remap(
        workspace=site.space.folder,
        map=site.map,
        write_masks=folder,
        workers=1,
        progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    expected = {
        Path(mask.path).with_suffix(".png"): classes_of(mask.labels)
        for mask in site.usable.values()
        if mask.path is not None and mask.labels is not None
    }
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert found == {*expected, Path("remap.json")}
    for path, classes in expected.items():
        with Image.open(folder / path) as image:
            assert (image.mode, image.format) == ("L", "PNG")
            np.testing.assert_array_equal(np.asarray(image), classes)
        np.testing.assert_array_equal(cv2.imread(str(folder / path), cv2.IMREAD_UNCHANGED), classes)
    assert (result.masks_written, result.masks_present) == (7, 0)
    assert stages[-1] == ("writing masks", 7, 7)
    again = remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert (again.masks_written, again.masks_present) == (0, 7)


def write_in_process(
    site: Site, folder: Path, promised: dict[int, int] | None = None
) -> tuple[int, int, list[tuple[str, str]]]:
    """What a worker does, without starting one; the manifest may promise other classes and pixels."""
    tasks = []
    for _, mask in sorted(site.usable.items()):
        if mask.path is None or mask.labels is None:
            continue
        status = (site.root / mask.path).stat()
        classes, pixels = np.unique(classes_of(mask.labels), return_counts=True)
        histogram = promised or dict(zip(classes.tolist(), pixels.tolist(), strict=True))
        task = MaskTask(
            source=mask.path,
            target=str(Path(mask.path).with_suffix(".png")),
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            height=mask.labels.shape[0],
            width=mask.labels.shape[1],
            classes=list(histogram),
            pixels=list(histogram.values()),
        )
        tasks.append(task)
    lookup = np.zeros(65536, np.uint8)
    lookup[[3, 9, 700]] = [1, 2, 2]
    report = write_mask_files(
        tasks, root=str(site.root), folder=str(folder), lookup=lookup, colours=COLOURS, nearest=False
    )
    assert report.disk is None
    return report.written, report.present, report.problems


def test_colour_masks_are_remapped_through_the_colours_of_the_audit(tmp_path: Path) -> None:
    site = Site(tmp_path, {"x": Mask(path="rgb_mask.png", labels=draw([0, 3, 9]))})
    assert write_in_process(site, tmp_path / "masks") == (1, 0, [])
    labels = site.masks["x"].labels
    assert labels is not None
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "masks/rgb_mask.png")), classes_of(labels))


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(site: Site, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    options = {"workspace": site.space.folder, "map": site.map, "workers": 1}
    remap(**options, write_masks=whole)  # type: ignore[arg-type]
    (torn / "b").mkdir(parents=True)
    (torn / "remap.json").write_bytes((whole / "remap.json").read_bytes())
    (torn / "b" / "palette_mask.png").write_bytes((whole / "b" / "palette_mask.png").read_bytes())
    (torn / "b" / ".tiff.v1_mask.png.4711.part").write_bytes(b"\x89PNG")
    result = remap(**options, write_masks=torn)  # type: ignore[arg-type]
    assert (result.masks_written, result.masks_present) == (6, 1)
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (whole, torn)
    ]
    assert contents[0] == contents[1]


def test_a_folder_of_other_masks_is_refused(site: Site, tmp_path: Path) -> None:
    def attempt(folder: Path) -> str:
        with pytest.raises(HistodsError) as refusal:
            remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
        return str(refusal.value)

    marked, filled, file = tmp_path / "marked", tmp_path / "filled", tmp_path / "file"
    write_json(marked / "remap.json", {"map_digest": "0", "manifest_digest": "0"})
    assert attempt(marked) == (f"{marked} holds masks of another label map or manifest; choose a new folder.")
    save(filled / "deep" / "other.png", draw([0]))
    assert attempt(filled) == (
        f"{filled} holds PNG files already, such as {filled}/deep/other.png; choose a new folder."
    )
    file.write_text("")
    assert attempt(file) == f"{file} is a file; --write-masks must name a folder."


def test_masks_that_changed_since_the_audit_are_refused_by_name_and_the_others_written(
    site: Site, tmp_path: Path
) -> None:
    os.utime(site.root / "b/palette_mask.png", ns=(1, 1))
    (site.root / "a/gray8_mask.png").unlink()
    folder = tmp_path / "masks"
    with pytest.raises(StaleFileError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert str(refusal.value) == (
        "Masks are not as the last audit read them: a/gray8_mask.png (cannot be opened: No "
        f"such file or directory) and 1 more; run 'histods audit {site.root} -w {site.space.folder}' again, then "
        "remap into a new folder."
    )
    assert len(list(folder.rglob("*.png"))) == 5


def test_a_mask_with_other_pixels_under_the_same_size_and_time_is_noticed(site: Site, tmp_path: Path) -> None:
    site.masks = {"a/gray8": site.masks["a/gray8"]}
    problem = ("a/gray8_mask.png", "its pixels changed, or the labels file did")
    for promised in ({0: 1, 1: 2, 2: 765}, {0: 256, 1: 512}):
        assert write_in_process(site, tmp_path / "masks", promised) == (0, 0, [problem])
    assert not (tmp_path / "masks").exists()


def test_a_damaged_mask_is_a_problem_with_a_reason(site: Site, tmp_path: Path) -> None:
    path = site.root / "a/gray8_mask.png"
    path.write_bytes(path.read_bytes()[:-8])
    site.masks = {"a/gray8": site.masks["a/gray8"]}
    written, _, [(name, reason)] = write_in_process(site, tmp_path / "masks")
    assert (written, name) == (0, "a/gray8_mask.png")
    assert reason
    assert "\n" not in reason


def test_a_folder_that_cannot_be_written_ends_the_run_with_the_reason(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "a").write_text("a file where a folder has to be")
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=folder, workers=1)
    assert str(refusal.value) == (
        f"Writing into {folder} failed ({folder}/a/gray16_mask.png: File exists); fix that and run the "
        "same command again to continue."
    )


def test_masks_that_would_share_a_name_are_refused_and_a_shared_mask_is_written_once(tmp_path: Path) -> None:
    shared = Mask(path="m.png", labels=draw([0, 3]))
    site = Site(tmp_path, {"x": shared, "y": shared})
    result = remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "masks", workers=1)
    assert result.masks_written == 1
    site.masks["z"] = Mask(path="m.tif", labels=shared.labels)
    assert shared.labels is not None
    save(site.root / "m.tif", shared.labels)
    site.audit()
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "others", workers=1)
    assert str(refusal.value) == (
        "m.png and m.tif would both be written as m.png; rename one of them and audit again."
    )


def test_masks_outside_the_dataset_are_never_written_beside_the_folder(tmp_path: Path) -> None:
    site = Site(tmp_path, {"x": Mask(path="../outside.png", labels=draw([0, 3]))})
    with pytest.raises(HistodsError) as refusal:
        remap(workspace=site.space.folder, map=site.map, write_masks=tmp_path / "masks", workers=1)
    assert str(refusal.value) == (
        f"{site.space.manifest} has paths or numbers that no dataset has ('../outside.png' outside it); run "
        "'histods audit DATASET' again."
    )
    assert not (tmp_path / "masks").exists()
