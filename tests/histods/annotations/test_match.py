"""Files of annotations find their images by names, and never an image of another folder by chance."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.annotations.match import ImageIndex, Match, Region


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("a/x", ["a/x.jpg"]),
        ("a/x.jpg", ["a/x.jpg"]),
        ("b/y", ["b/y.png"]),
        ("y", ["b/y.png"]),
        ("export/y", ["b/y.png"]),
        ("x", ["a/x.jpg", "b/x.jpg"]),
        ("dots.in.name", ["dots.in.name.tif"]),
        ("nothing", []),
        ("b/x.png", ["b/x.jpg"]),  # the image was converted since
    ],
)
def test_a_file_is_of_the_image_with_its_name(stem: str, found: list[str]) -> None:
    index = ImageIndex(["a/x.jpg", "b/x.jpg", "b/y.png", "dots.in.name.tif"])
    assert [match.path for match in index.find_named(stem)] == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/x.jpg", ["a/x.jpg"]),
        ("./a/x.jpg", ["a/x.jpg"]),
        ("a\\x.jpg", ["a/x.jpg"]),
        ("/home/u/data/a/x.jpg", ["a/x.jpg"]),
        ("C:\\data\\b\\x.jpg", ["b/x.jpg"]),
        ("y.png", ["b/y.png"]),
        ("c/y.png", []),  # another folder
        ("x.jpg", ["a/x.jpg", "b/x.jpg"]),
        ("y.jpg", []),
        ("", []),
        ("file:///data/b/%C3%A4%20%231.png", ["b/ä #1.png"]),
        ("100%25.png", ["100%25.png"]),  # the name as it is comes first
    ],
)
def test_a_path_means_the_image_with_the_same_end(name: str, found: list[str]) -> None:
    index = ImageIndex(["a/x.jpg", "b/x.jpg", "b/y.png", "b/ä #1.png", "100%25.png", "100%.png"])
    assert [match.path for match in index.find_file(name)] == found


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=12, unique=True), PATHS)
def test_the_path_itself_counts_before_those_with_the_same_end(paths: list[str], name: str) -> None:
    """One path has the end of another if it ends as the other does, folder by folder."""
    same = [path for path in paths if f"/{path}".endswith(f"/{name}") or f"/{name}".endswith(f"/{path}")]
    found = [match.path for match in ImageIndex(paths).find_file(name)]
    assert sorted(found) == ([name] if name in paths else sorted(same))


def test_accents_in_two_parts_are_the_same() -> None:
    name = "ärmel_é.jpg"
    index = ImageIndex([unicodedata.normalize("NFD", name)])
    assert index.find_file(name)
    assert index.find_named(unicodedata.normalize("NFC", "ärmel_é"))


def test_tiles_of_a_slide_have_its_annotations() -> None:
    tiles = [
        "t/s1 [x=0,y=512,w=512,h=512].png",
        "t/s1 [d=2.5,x=-10,y=0,w=1280,h=1280].png",
        "t/s2 [x=0,y=0,w=9,h=9].png",
    ]
    index = ImageIndex(tiles)
    expected = [Match(tiles[0], Region(0, 512, 512, 512, 1)), Match(tiles[1], Region(-10, 0, 1280, 1280, 2.5))]
    for stem in ("s1", "annotations/s1", "t/s1", "s1.svs"):
        assert index.find_named(stem) == expected
    assert index.find_named("t/s1 [x=0,y=512,w=512,h=512]") == [Match(tiles[0])]  # its own file


@pytest.mark.parametrize(
    "part", ["d=0,x=0,y=0,w=9,h=9", "x=0,y=0,w=0,h=9", "x=0,y=0,w=9,h=0", "x=0,y=0,w=9,h=9,z=1", "x=1"]
)
def test_other_names_are_no_tiles(part: str) -> None:
    assert not ImageIndex([f"s [{part}].png"]).find_named("s")
