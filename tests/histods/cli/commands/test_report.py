"""`histods report`: where the page is, and the document of what is on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.histods.cli.commands.conftest import Place


def test_the_page_is_where_it_was_asked_for_and_the_document_says_how_large(place: Place) -> None:
    page = place.folder / "page ä.html"
    result = place.run("report", "--out", page, "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["file"]) == (0, page.as_posix())
    assert document["bytes"] == page.stat().st_size
    assert f"Written: {page}" in result.stderr.replace("\n", " ")
    assert "Next:" in result.stderr


def test_a_page_into_the_dataset_is_refused(place: Place) -> None:
    result = place.run("report", "--out", place.data / "page.html")
    assert (result.returncode, result.stdout) == (2, "")
    assert "which is never written to" in result.stderr
    assert not (place.data / "page.html").exists()
