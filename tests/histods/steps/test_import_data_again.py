"""import_data: what is missing is made again, and the same bytes after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import audit, import_data
from histods.errors import StaleFileError
from tests.commands import histods
from tests.histods.annotations.documents import coco, collection, feature, flat, square
from tests.histods.steps.annotated import make_images, refusal, run, tree, work_here, write, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def _work_here() -> Iterator[None]:
    with work_here():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images")


def test_what_is_missing_or_torn_is_made_again(root: Path, tmp_path: Path) -> None:
    for name in ("a", "c", "sub/b"):
        write(root / f"{name}.geojson", collection(feature("A", [square(0, 0, 3)])))
    to = tmp_path / "out"
    run(root, to)
    before = tree(to)
    (to / "a_mask.png").unlink()
    (to / "sub" / "b.png").write_bytes(b"torn")
    (to / "left_out.csv").unlink()
    intact = [(to / name).stat() for name in ("c.tif", "c_mask.png")]
    result = run(root, to)
    assert [(to / name).stat().st_ino for name in ("c.tif", "c_mask.png")] == [one.st_ino for one in intact]
    assert (result.written, result.present) == (2, 1)
    assert tree(to) == before


def _change_under_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file of annotations change after it was first read, and before anything is drawn."""

    def change(*_: object) -> None:
        write(path, collection(feature("A", [square(0, 0, 4)])))

    monkeypatch.setattr("histods.steps.import_data.write_mark", change)


def test_annotations_that_change_under_way_end_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    write(root / "c.geojson", collection(feature("A", [square(0, 0, 3)])))
    _change_under_way(path, monkeypatch)
    with pytest.raises(StaleFileError, match=r"a\.geojson has changed since it was first read; run the same"):
        run(root, tmp_path / "out")


def test_a_single_file_is_read_once_and_drawn_as_it_was_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a.geojson", collection(feature("A", [square(0, 0, 3)])))
    _change_under_way(path, monkeypatch)
    run(root, tmp_path / "out")
    assert np.asarray(Image.open(tmp_path / "out" / "a_mask.png")).sum() == 9


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    entries, annotations = [], []
    for number in range(120):
        write_image(root / f"{number:03d}.png", number)
        entries.append({"id": number, "file_name": f"{number:03d}.png"})
        shape = {"id": number, "image_id": number, "category_id": 3, "segmentation": [flat(number % 20, 3, 9)]}
        annotations.append(shape)
    path = write(tmp_path / "coco.json", coco(annotations, images=entries))
    to = tmp_path / "out"
    run(root, to, annotations=path)
    whole = tree(to)
    to.rename(tmp_path / "whole")
    words = ["import-data", root, "--annotations", path, "--to", to, "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "histods", *map(str, words)]
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None and sum(1 for _ in to.rglob("*.png")) < 80:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    text = refusal(lambda: audit(to, workspace=tmp_path / "never"))
    assert text.startswith(f"The masks in {to} are not finished; run 'histods import-data {root}")
    done = histods(*words)
    assert done.returncode == 0, done.stderr
    assert {**tree(to), "import.json": ""} == {**whole, "import.json": ""}
    assert json.loads((to / "import.json").read_text())["table_digest"] == whole["import.parquet"]


def test_the_bytes_are_the_same_with_other_workers(root: Path, tmp_path: Path) -> None:
    for name in ("a", "c", "sub/b"):
        write(root / f"{name}.geojson", collection(feature("A", [square(0, 0, 3)]), feature(None, [])))
    run(root, tmp_path / "one")
    import_data(root, to=tmp_path / "two", workers=2)
    assert {**tree(tmp_path / "one"), "import.json": ""} == {**tree(tmp_path / "two"), "import.json": ""}
