"""Files are opened below the root alone, whatever was put in their place since they were listed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from histods.errors import InaccessibleFileError, UnreadableFileError
from histods.io.open_file import OpenRoot
from histods.measurement.worker import SCHEMA, MeasureOptions, measure_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset with links inside it, and a file beside it that must not be read."""
    root = tmp_path / "data"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x.png").write_bytes(b"inside")
    (root / "top.png").write_bytes(b"top")
    (root / "link.png").symlink_to("a/b/x.png")
    (root / "absolute.png").symlink_to(root / "a" / "b" / "x.png")
    (root / "folder").symlink_to("a/b")
    (root / "a" / "up").symlink_to("..")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.png").write_bytes(b"secret")
    return root


def read(root: Path, path: str) -> bytes:
    with OpenRoot(root) as dataset, dataset.open(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("top.png", b"top"),
        ("a/b/x.png", b"inside"),
        ("link.png", b"inside"),
        ("absolute.png", b"inside"),
        ("folder/x.png", b"inside"),
        ("a/up/a/b/x.png", b"inside"),
        ("a/up/folder/x.png", b"inside"),
        ("../secret/x.png", b"secret"),  # a folder beside the root, as --unconditional may name one
    ],
)
def test_files_and_links_inside_the_root_are_read(root: Path, path: str, expected: bytes) -> None:
    assert read(root, path) == expected


@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/x.png", "top.png", "folder", "link.png"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_link_out_of_the_root_is_not_followed_wherever_it_stands(
    root: Path, swapped: str, absolute: bool
) -> None:
    paths = {"a": "a/b/x.png", "a/b": "a/b/x.png", "folder": "folder/x.png"}
    secret = root.parent / "secret"
    (secret / "b").mkdir()
    (secret / "b" / "x.png").write_bytes(b"secret")
    (root / swapped).rename(root / "away")
    target = secret / "x.png" if swapped.endswith(".png") else secret
    (root / swapped).symlink_to(target if absolute else os.path.relpath(target, (root / swapped).parent))
    with pytest.raises(UnreadableFileError, match="a link that leads out of the dataset, which is not followed"):
        read(root, paths.get(swapped, swapped))


def test_what_is_missing_or_no_file_is_said(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    (root / "circle.png").symlink_to("circle.png")
    with pytest.raises(UnreadableFileError, match="^not a regular file$"):
        read(root, "pipe.png")
    with pytest.raises(UnreadableFileError, match="^not a regular file$"):
        read(root, "a")
    for path in ("missing.png", "a/missing/x.png", "a/b/x.png/y.png", "circle.png"):
        with pytest.raises(InaccessibleFileError, match="^cannot be opened: "):
            read(root, path)
    with pytest.raises(InaccessibleFileError, match="^cannot be opened: No such file"):
        read(root / "missing", "x.png")


def test_more_folders_than_stay_open_are_read_and_all_are_closed(root: Path) -> None:
    paths = [f"deep/{number}/{'d/' * (number % 7)}x.png" for number in range(60)]
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with OpenRoot(root) as dataset:
        for path in paths + paths[::-1]:
            with dataset.open(path) as file:
                assert file.read().decode() == path
        assert len(os.listdir("/proc/self/fd")) - before < 30  # noqa: PTH208
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_measuring_names_a_link_that_was_put_in_a_files_place(root: Path) -> None:
    import pyarrow as pa

    (root / "top.png").unlink()
    (root / "top.png").symlink_to(root.parent / "secret" / "x.png")
    payload = measure_files([("top.png", True, None, False)], options=MeasureOptions(root=str(root)))
    (row,) = pa.ipc.open_stream(payload).read_all().cast(SCHEMA).to_pylist()
    assert row["error"].startswith("a link that leads out of the dataset")
