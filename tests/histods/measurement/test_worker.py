"""What a worker measures is what Pillow and NumPy find, in the chunk's order; bad input is a row of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from PIL import Image

from histods.dataset.manifest import to_polars
from histods.measurement.extra_measure import Measure
from histods.measurement.worker import FileTask, Measured, MeasureOptions, failed_row, measure_files
from tests.histods.checks.mask_files import photograph, pillow

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.colours.colour_labels import Mask
    from histods.run_lengths import Runs

MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def highest(mask: Mask, _: Runs) -> int:
    """A measure of a check's own."""
    return int(mask.labels.max())


HIGHEST = Measure(column="highest", type=pa.uint32(), of_mask=highest)


def measure(root: Path, tasks: list[FileTask], **options: Any) -> pl.DataFrame:
    with pa.ipc.open_stream(measure_files(tasks, options=MeasureOptions(root=str(root), **options))) as stream:
        return to_polars(stream.read_all())


def mask(path: str) -> FileTask:
    return path, True, None, False


@settings(max_examples=25, deadline=None)
@given(labels=MASKS)
def test_labels_pixels_and_runs_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint8]
) -> None:
    root = tmp_path_factory.mktemp("masks")
    Image.fromarray(labels).save(root / "ä.png")
    row = measure(root, [mask("ä.png")], measures=(HIGHEST,)).row(0, named=True)
    values, pixels = np.unique(labels, return_counts=True)
    assert (row["height"], row["width"]) == labels.shape
    assert row["runs"] == 1 + np.count_nonzero(np.diff(labels.ravel().astype(int)))
    if row["not_index"] is None:
        assert (row["labels"], row["pixels"], row["highest"]) == (values.tolist(), pixels.tolist(), labels.max())
    else:
        assert (row["labels"], row["pixels"], row["highest"]) == (None, None, None)


def test_every_file_has_a_row_in_the_order_of_the_chunk(tmp_path: Path) -> None:
    """Sound, damaged, missing and refused files; only a reason that may pass leaves `how` null."""
    picture = pillow(photograph(0), "JPEG")
    (tmp_path / "image.jpg").write_bytes(picture)
    (tmp_path / "cut.jpg").write_bytes(picture[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "mask.png").write_bytes(pillow(np.tri(8, dtype=np.uint8)))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    tasks: list[FileTask] = [
        ("mask.png", True, None, False),
        ("gone.png", True, None, False),
        ("cut.jpg", False, None, False),
        ("empty.png", True, None, False),
        ("image.jpg", False, None, False),
        ("folder.png", True, None, False),
        ("link.png", True, "is a link to nothing", False),
        ("out.png", True, None, False),
    ]
    rows = measure(tmp_path, tasks)
    assert rows["path"].to_list() == [path for path, *_ in tasks]
    assert rows["is_mask"].to_list() == [is_mask for _, is_mask, *_ in tasks]
    assert rows["error"].is_null().to_list() == [path in ("mask.png", "image.jpg") for path, *_ in tasks]
    assert dict(zip(rows["path"], rows["how"], strict=True)) == {
        path: None if path == "gone.png" else "values" if is_mask else "structure" for path, is_mask, *_ in tasks
    }
    assert rows["error"][6] == "is a link to nothing"
    assert rows.filter(path="image.jpg").select("width", "height", "bytes").rows() == [(80, 60, len(picture))]


def test_no_files_and_a_root_that_is_gone(tmp_path: Path) -> None:
    options = MeasureOptions(root=str(tmp_path / "gone"))
    assert measure_files([], options=options) == b""
    rows = measure(tmp_path / "gone", [mask("a.png"), mask("b.png")])
    assert rows["how"].null_count() == 2
    assert all(re.search(r"[Nn]o such|not be opened|gone", reason) for reason in rows["error"])


def test_equal_masks_are_measured_alike_and_only_under_equal_options(tmp_path: Path) -> None:
    """A worker remembers masks by digest; colours of labels make it measure them anew."""
    red = np.zeros((8, 8, 3), np.uint8)
    red[2:5] = (255, 0, 0)
    for name in ("one.png", "two.png"):
        Image.fromarray(red).save(tmp_path / name)
    tasks = [mask("one.png"), mask("two.png")]
    plain = measure(tmp_path, tasks)
    assert plain["labels"].null_count() == 2
    read = measure(tmp_path, tasks, colours={0: (0, 0, 0), 4: (255, 0, 0)})
    assert read["labels"].to_list() == [[0, 4]] * 2
    assert read["pixels"].to_list() == [[40, 24]] * 2
    assert measure(tmp_path, tasks).equals(plain)
    assert read.drop("path", "mtime_ns").unique().height == 1


def test_options_have_one_name_for_each_way_of_measuring() -> None:
    root, red = "/data", {1: (255, 0, 0)}
    images = [MeasureOptions(root=root, decode=a, digest_images=b) for a in (False, True) for b in (False, True)]
    assert len({one.images_how for one in images} | {one.looks_how for one in images}) == 8
    newer = Measure(column="highest", type=pa.uint32(), version=2, of_mask=highest)
    masks = [
        MeasureOptions(root=root, colours=colours, nearest=nearest, measures=measures)
        for colours, nearest in (({}, False), (red, False), (red, True), ({2: (255, 0, 0)}, False))
        for measures in ((), (HIGHEST,), (newer,))
    ]
    assert len({one.masks_how for one in masks}) == len(masks)
    turned = MeasureOptions(root=root, colours={2: (0, 0, 1), 1: (0, 0, 2)})
    assert turned.masks_how == MeasureOptions(root=root, colours={1: (0, 0, 2), 2: (0, 0, 1)}).masks_how


def test_a_failed_file_is_a_row_like_all_others() -> None:
    options = MeasureOptions(root="/data", measures=(HIGHEST,))
    with pa.ipc.open_stream(failed_row(mask("ä.png"), "the worker died", options)) as stream:
        (row,) = stream.read_all().to_pylist()
    assert (row["path"], row["is_mask"], row["error"], row["highest"]) == ("ä.png", True, "the worker died", None)
    assert [*row] == options.schema.names
    assert options.schema.names[4:-1] == [*Measured._fields[:-1]]
