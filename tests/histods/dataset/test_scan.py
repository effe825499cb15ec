"""The listing names every file once, never leaves the root, and never hangs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.dataset.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_pipes_and_hidden_files_are_set_aside(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", ".hidden.png", ".git/y.png")
    os.mkfifo(tmp_path / "pipe.png")
    listing = scan(tmp_path)
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


def test_links_that_lead_to_themselves_are_rows_with_a_reason(tmp_path: Path) -> None:
    fill(tmp_path, "x.png")
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "long.png").symlink_to("n" * 300)
    listing = scan(tmp_path)
    assert sorted(listing.paths) == ["a.png", "b.png", "long.png", "x.png"]
    assert listing.problems == {
        "a.png": "a link that leads to itself",
        "b.png": "a link that leads to itself",
        "long.png": "a link that fails: File name too long",
    }
    sizes = dict(zip(listing.paths, listing.sizes.tolist(), strict=True))
    assert sizes == {"a.png": 0, "b.png": 0, "long.png": 0, "x.png": 5}


def test_a_link_to_a_name_that_is_not_utf8_is_named_in_text_that_can_be_written(tmp_path: Path) -> None:
    fill(tmp_path, "root/x.png")
    outside = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    outside.mkdir()
    (tmp_path / "root" / "link").symlink_to(outside)
    listing = scan(tmp_path / "root")
    assert listing.outside == {"link": f"{tmp_path}/caf\\xe9"}


def test_folders_that_link_to_one_another_are_listed_twice_at_most(tmp_path: Path) -> None:
    """Nine folders with eight links each have 986,409 paths without a folder twice in them."""
    folders = [f"f{number}" for number in range(9)]
    fill(tmp_path, *(f"{folder}/x.png" for folder in folders))
    for folder in folders:
        for other in folders:
            if other != folder:
                (tmp_path / folder / f"to_{other}").symlink_to(tmp_path / other)
    paths = scan(tmp_path).paths
    assert {path for path in paths if "to_" not in path} == {f"{folder}/x.png" for folder in folders}
    assert sorted(path.split("/")[-2] for path in paths if "to_" in path) == [f"to_{folder}" for folder in folders]


@given(order=st.permutations(["b", "c", "d/e", "a/up/z"]))
@settings(max_examples=10, deadline=None)
def test_which_of_several_links_to_a_folder_counts_is_no_accident(
    tmp_path_factory: pytest.TempPathFactory, order: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    fill(root, "a/x.png", "a/up/y.png", "d/w.png")
    for name in order:
        (root / name).symlink_to(root / "a")
    assert sorted(scan(root).paths) == ["a/up/y.png", "a/x.png", "b/up/y.png", "b/x.png", "d/w.png"]


@pytest.fixture
def long_tree(tmp_path: Path) -> Iterator[Path]:
    """Twenty folders in each other with names of 250 bytes: the last ones have paths too long for any call."""
    root = tmp_path / "long"
    root.mkdir()
    (root / "x.png").write_bytes(b"x")
    here = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        os.close(os.open("y.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


def test_a_folder_that_cannot_be_listed_costs_no_other_file(long_tree: Path) -> None:
    listing = scan(long_tree)
    ((folder, reason),) = listing.unlisted.items()
    assert reason == "File name too long"
    assert "x.png" in listing.paths
    depth = folder.count("/")
    assert len(listing.paths) == 1 + depth
    sizes = dict(zip(listing.paths, listing.sizes.tolist(), strict=True))
    assert (sizes.pop("x.png"), set(sizes.values())) == (1, {0})
