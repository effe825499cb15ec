"""What files say is checked: paths that stay inside, and JSON that has the fields and types of a class."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.io.checked import build, is_name, is_path, leads_inside, lies_inside, stays_inside


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Whole:
    count: int
    kind: Literal["a", "b"]
    parts: tuple[Part, ...] = ()
    names: dict[str, int] = field(default_factory=dict)
    note: str | None = None
    is_done: bool = False


@pytest.mark.parametrize("path", ["a", "a/b", "a.b/c..d", "...", " ", "a\\b"])
def test_a_relative_path_stays_inside(path: str) -> None:
    assert stays_inside(path)
    assert lies_inside(f"/data/{path}", "/data")
    assert lies_inside(f"/data/{path}", "/data/")


@pytest.mark.parametrize("path", ["", "/", "/a", "a/", "a//b", ".", "a/./b", "..", "../a", "a/../b", "a\0b"])
def test_other_paths_do_not(path: str) -> None:
    assert not stays_inside(path)
    assert not lies_inside(f"/data/{path}", "/data")


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b c"]), max_size=5).map("/".join))
def test_what_stays_inside_never_leads_out(path: str) -> None:
    if stays_inside(path):
        assert Path("/data", path).resolve().is_relative_to("/data")


def test_the_begin_of_a_name_is_no_folder() -> None:
    assert not lies_inside("/database/a", "/data")
    assert lies_inside("/a", "/")


@pytest.mark.parametrize(("name", "found"), [("a.png", True), (".a", False), ("a/b", False), ("", False)])
def test_a_name_is_one_part_that_is_not_hidden(name: str, found: bool) -> None:
    assert is_name(name) == found


@given(st.text() | st.sampled_from(["/data", "x" * 255, "x" * 256, "ä" * 128, "a/" * 2047, "a/" * 3000, "\udcff"]))
def test_the_system_can_be_asked_about_a_path(text: str) -> None:
    assert is_path(text) == can_be_asked(text)


def can_be_asked(text: str) -> bool:
    """Whether a file of that path is there or not, as the system says."""
    try:
        os.lstat(text)
    except FileNotFoundError:
        return text != ""
    except NotADirectoryError:
        return True
    except (OSError, ValueError):
        return False
    return True


def test_links_are_followed_to_where_they_lead(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "back").symlink_to(inside)
    assert not leads_inside(str(inside / "link" / "a"), str(inside))
    assert leads_inside(str(inside / "back" / "a"), str(inside))
    assert leads_inside(str(inside), str(inside))
    assert not leads_inside(str(tmp_path / "inside"), str(inside))


def test_a_whole_document_becomes_its_class() -> None:
    document = {
        "count": 3, "kind": "b", "parts": [{"name": "x"}, {"name": "y", "share": 2}],
        "names": {"z": 1}, "note": None, "is_done": True,
    }  # fmt: skip
    parts = (Part(name="x"), Part(name="y", share=2))
    assert build(Whole, document) == Whole(count=3, kind="b", parts=parts, names={"z": 1}, is_done=True)
    assert build(Whole, {"kind": "a"}, count=5) == Whole(count=5, kind="a")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"^\[\] instead of an object$"),
        ({"kind": "a"}, "^no field count$"),
        ({"count": 1, "kind": "a", "more": 1}, "^an unknown field 'more'$"),
        ({"count": True, "kind": "a"}, "^count True$"),
        ({"count": 1.5, "kind": "a"}, "^count 1.5$"),
        ({"count": 1 << 63, "kind": "a"}, f"^count {1 << 63}$"),
        ({"count": -(1 << 63), "kind": "a"}, f"^count -{1 << 63}$"),
        ({"count": 1, "kind": "c"}, "^kind 'c'$"),
        ({"count": 1, "kind": ["a"]}, r"^kind \['a'\]$"),
        ({"count": 1, "kind": "a", "note": 3}, "^note 3$"),
        ({"count": 1, "kind": "a", "note": "a\0"}, "^note 'a"),
        ({"count": 1, "kind": "a", "is_done": 1}, "^is_done 1$"),
        ({"count": 1, "kind": "a", "parts": {}}, r"^parts \{\}$"),
        ({"count": 1, "kind": "a", "parts": [{"name": "x", "share": float("nan")}]}, "^share nan$"),
        ({"count": 1, "kind": "a", "parts": [{"name": "x", "share": float("inf")}]}, "^share inf$"),
        ({"count": 1, "kind": "a", "names": {"x": "1"}}, "^names '1'$"),
        ({"count": 1, "kind": "a", "note": ["x" * 99]}, r"^note \['x{55}\.\.\.$"),
    ],
)
def test_what_is_wrong_with_a_document_is_named(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Whole, document)


def test_what_is_known_already_may_not_be_in_the_document() -> None:
    with pytest.raises(ValueError, match="an unknown field 'count'"):
        build(Whole, {"count": 1, "kind": "a"}, count=1)
