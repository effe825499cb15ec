"""Results show themselves shortly, whatever they hold, and as HTML that no name can break."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histods import remap, show, split, status
from histods.printing import MAX_ROWS, printed
from reports.charts import PlotResult
from training.verbs.train import TrainResult

if TYPE_CHECKING:
    from tests.conftest import Site


class Row(NamedTuple):
    name: str
    pixels: int | None


@printed(table="rows", hide=("left_out",))
@dataclass(frozen=True, slots=True)
class Result:
    what: Any
    rows: tuple[Row, ...] = ()
    left_out: str = "hidden"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert not attrs
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text() | st.just(Path("a/b.png")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(VALUES, st.lists(st.builds(Row, st.text(), st.none() | st.integers()), max_size=30))
def test_whatever_a_result_holds_is_short_and_harmless(value: object, rows: list[Row]) -> None:
    result = Result(value, tuple(rows))
    text = repr(result)
    assert str(result) == text
    lines = text.split("\n")
    assert len(lines) <= MAX_ROWS + 5
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert "hidden" not in text
    page = Tags()
    page.feed(cast("Any", result)._repr_html_())
    assert page.tags <= {"table", "caption", "tr", "th", "td", "thead", "tbody", "p"}
    assert (f"… {len(rows) - MAX_ROWS:,} more" in text) == (len(rows) > MAX_ROWS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (0, "0"),
        (0.123456, "0.1235"),
        (True, "yes"),
        (Path("/data/set"), "/data/set"),
        ({"train": 12, "test": 3}, "train 12, test 3"),
        ((Path("out/a.png"), Path("out/b.png")), "a.png, b.png"),
        (tuple(range(1000)), "0, 1, 2, 3, 4, 5, … (1,000)"),
        (Row("Dermis", 5), "name Dermis, pixels 5"),
        (Row("Dermis", 0), "name Dermis"),
        ({"train": (1, 400)}, "train (1, 400)"),
        ("<b>\x1b[31m", "<b>\ufffd[31m"),
    ],
)
def test_values_read_as_people_write_them(value: object, shown: str) -> None:
    assert repr(Result(value)) == f"Result\n  what  {shown}"


@pytest.mark.parametrize("value", [None, (), "", {}])
def test_what_says_nothing_is_left_out(value: object) -> None:
    assert repr(Result(value)) == "Result"


def test_every_result_of_a_verb_is_a_short_table(site: Site) -> None:
    space = site.workspace
    from histods import audit

    audited = audit(site.root, workspace=space, allow_unpaired=True, workers=1)
    results: list[Any] = [
        audited,
        audited.manifest,
        audited.manifest.sample(next(iter(site.images))),
        remap(workspace=space, map=site.map),
        split(workspace=space, test=0.2),
        status(space),
        show("labels", workspace=space),
    ]
    for result in results:
        text = repr(result)
        name = type(result).__name__
        assert re.match(rf"{name}\n  \w", text), text
        assert len(text) < 3000
        assert len(text.split("\n")) < 40
        assert result._repr_html_().startswith(f"<table><caption>{name}</caption>")
    assert "Tumour" in repr(results[3])
    assert audited.findings_frame().columns == ["key", "path", "code", "severity", "message"]
    assert len(audited.findings_frame().to_pandas()) == sum(audited.findings.values())


@pytest.mark.parametrize("kind", [PlotResult, TrainResult])
def test_results_of_other_packages_too(kind: Any) -> None:
    assert "printing" in kind.__repr__.__module__
    assert {"folder", "files"} & {field.name for field in fields(kind)}
