"""The listing names every file once, never leaves the root, and never hangs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from histods.storage.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_every_file_is_listed_with_size_and_time(tmp_path: Path) -> None:
    names = ["a.jpg", "deep/er/b.PNG", "Gewebe äöü 組織.png", "no suffix", "new\nline.png", "a.b.c.jpg"]
    fill(tmp_path, *names)
    os.utime(tmp_path / "a.jpg", ns=(5, 1_234_567_890_123_456_789))
    listing = scan(tmp_path)
    assert sorted(listing.paths) == sorted(names)
    assert dict(zip(listing.paths, listing.sizes.tolist(), strict=True)) == {
        name: len(name.encode()) for name in names
    }
    assert listing.mtimes[listing.paths.index("a.jpg")] == 1_234_567_890_123_456_789
    assert listing.problems == {}


def test_links_out_of_the_root_are_named_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, "outside/secret.png", "root/a.png")
    root = tmp_path / "root"
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.png").symlink_to(tmp_path / "outside" / "secret.png")
    (root / "inner.png").symlink_to(root / "a.png")
    (root / "broken.png").symlink_to(root / "nothing.png")
    listing = scan(root)
    assert sorted(listing.paths) == ["a.png", "broken.png", "file.png", "folder", "inner.png"]
    assert sorted(listing.outside) == ["file.png", "folder"]
    assert listing.problems == {"broken.png": "a link to a file that does not exist"}


def test_a_neighbour_whose_name_starts_like_the_root_is_outside(tmp_path: Path) -> None:
    fill(tmp_path, "root/a.png", "root2/b.png")
    (tmp_path / "root" / "b.png").symlink_to(tmp_path / "root2" / "b.png")
    assert sorted(scan(tmp_path / "root").outside) == ["b.png"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert sorted(scan(tmp_path).paths) == ["a/x.png", "b/x.png"]


def test_pipes_hidden_files_and_the_workspace_are_set_aside(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", ".hidden.png", ".git/y.png", "out/z.png")
    os.mkfifo(tmp_path / "pipe.png")
    listing = scan(tmp_path, skip=[tmp_path / "out"])
    assert sorted(listing.paths) == ["pipe.png", "x.png"]
    assert listing.problems == {"pipe.png": "not a regular file"}
    assert listing.hidden == 2


def test_a_name_that_is_not_utf8_gets_a_row_and_a_reason(tmp_path: Path) -> None:
    fill(tmp_path, "ok.png")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123 - bytes, not text
        file.write(b"x")
    listing = scan(tmp_path)
    assert sorted(listing.paths) == ["caf\\xe9.png", "ok.png"]
    assert listing.problems == {"caf\\xe9.png": "its name is not UTF-8; rename it"}


@pytest.fixture
def deep_tree(tmp_path: Path) -> Iterator[Path]:
    """1,200 folders in each other and a file in the last; `rm` removes them, where `shutil.rmtree` cannot."""
    root = tmp_path / "deep"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("x.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


def test_a_deep_tree_does_not_exhaust_the_stack(deep_tree: Path) -> None:
    assert scan(deep_tree).paths == ["d/" * 1200 + "x.png"]
