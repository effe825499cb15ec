"""The mark of a folder of tiles: it comes back as written, and the audit recognises finished tiles by it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.tiles.mark import MARK, PAIRS, SCHEMA_VERSION, TileMark, find_tile_pairs, read_mark, write_mark

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = TileMark(
    schema_version=SCHEMA_VERSION,
    root="/data",
    size=64,
    stride=32,
    edge="shift",
    pad_label=0,
    keep_blank=False,
    plan_digest="1",
    manifest_digest="2",
    command="histods tile --size 64 --to t",
    tiles_digest=None,
)


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        replace,
        st.just(PLAIN),
        root=st.text(st.characters(codec="utf-8"), max_size=9),
        size=st.integers(1, 65535),
        edge=st.sampled_from(["shift", "pad"]),
        keep_blank=st.booleans(),
    ),
    st.none() | st.text("0123456789abcdef", max_size=9),
)
def test_a_mark_comes_back_with_the_digest_that_was_given(
    tmp_path_factory: pytest.TempPathFactory, mark: TileMark, digest: str | None
) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_mark(folder, mark, digest)
    assert read_mark(folder) == replace(mark, tiles_digest=digest)


@pytest.mark.parametrize(
    "change", [{"size": "64"}, {"edge": "mirror"}, {"keep_blank": 1}, {"root": None}, {"more": 1}, {"stride": ...}]
)
def test_what_histods_did_not_write_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    document = {name: value for name, value in (asdict(PLAIN) | change).items() if value is not ...}
    (tmp_path / MARK).write_text(json.dumps(document))
    with pytest.raises(HistodsError, match=r"is not what 'histods tile' wrote \(.*\); remove that file"):
        read_mark(tmp_path)


def test_the_options_that_were_asked_for_are_those_that_change_the_tiles() -> None:
    for change in ({"size": 1}, {"stride": 1}, {"edge": "pad"}, {"pad_label": 1}, {"keep_blank": True}):
        assert replace(PLAIN, **change).asked() != PLAIN.asked()
    assert replace(PLAIN, root="/b", command="c", plan_digest="d", tiles_digest="e").asked() == PLAIN.asked()


def test_finished_tiles_have_a_file_of_pairs_and_others_none(tmp_path: Path) -> None:
    assert find_tile_pairs(tmp_path, None) is None
    write_mark(tmp_path, PLAIN)
    with pytest.raises(HistodsError, match=f"are not finished; run '{PLAIN.command}' to continue"):
        find_tile_pairs(tmp_path, None)
    write_mark(tmp_path, PLAIN, "digest")
    with pytest.raises(HistodsError, match="are not finished"):
        find_tile_pairs(tmp_path, None)  # the file of pairs is gone
    (tmp_path / PAIRS).touch()
    assert find_tile_pairs(tmp_path, None) == tmp_path / PAIRS
    write_mark(tmp_path, PLAIN)
    with pytest.raises(HistodsError, match="are not finished"):
        find_tile_pairs(tmp_path, None)  # an earlier file of pairs
    write_mark(tmp_path, PLAIN, "digest")
    with pytest.raises(HistodsError, match=r"--group-regex '\^x' does not work on tiles.*audit /data with it"):
        find_tile_pairs(tmp_path, "^x")
