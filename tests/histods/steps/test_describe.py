"""describe: what is known is described, what nobody gave is named, and nothing is invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods import HistodsError, describe, split
from tests.commands import histods

if TYPE_CHECKING:
    from tests.conftest import Site

FACTS = """
name: Skin
license: https://spdx.org/licenses/CC-BY-4.0.html
creators: [A. Müller, B]
organizations: Institute
version: 1.0
date_published: 2026-11-26
"""


def test_facts_are_described_as_they_are_written(site: Site, tmp_path: Path) -> None:
    facts = tmp_path / "facts.yml"
    facts.write_text(FACTS, encoding="utf-8")
    result = describe(to=tmp_path / "new", facts=facts, workspace=site.workspace)
    document = json.loads((tmp_path / "new" / "croissant.json").read_text(encoding="utf-8"))
    assert (document["name"], document["version"], document["datePublished"]) == ("Skin", "1.0", "2026-11-26")
    assert [maker["name"] for maker in document["creator"]] == ["A. Müller", "B", "Institute"]
    assert result.missing == ("url", "cite_as")


def test_what_nobody_gave_is_named_and_left_out(site: Site, tmp_path: Path) -> None:
    split(workspace=site.workspace, test=0.25)
    done = histods("describe", "--to", str(tmp_path / "new"), "-w", str(site.workspace))
    assert done.returncode == 0
    assert "license, creators, url, version, date_published, cite_as" in " ".join(done.stdout.split())
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "croissant.json",
        "manifest.parquet",
        "split.parquet",
    }
    document = json.loads((tmp_path / "new" / "croissant.json").read_text(encoding="utf-8"))
    assert not {"license", "creator", "url", "citeAs"} & document.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("licence: x", "the unknown 'licence'; the nearest is 'license'"),
        ("license: [a]", "a text as license, but has a list"),
        ("creators: [a, {b: c}]", "a text as creators, but has a mapping"),
        ("name:", "a text as name, but has nothing"),
        ("- a", "lines such as 'license: URL', but has a list"),
        ("name: {", "plain YAML"),
    ],
)
def test_a_file_of_other_facts_is_refused(site: Site, tmp_path: Path, text: str, message: str) -> None:
    facts = tmp_path / "facts.yml"
    facts.write_text(text)
    with pytest.raises(HistodsError) as caught:
        describe(to=tmp_path / "new", facts=facts, workspace=site.workspace)
    assert message in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_into_the_dataset_or_over_a_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="never written to"):
        describe(to=site.root / "new", workspace=site.workspace)
    (tmp_path / "file").touch()
    with pytest.raises(HistodsError, match="is a file"):
        describe(to=tmp_path / "file", workspace=site.workspace)
