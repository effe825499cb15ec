"""The page is one file that asks for nothing, shows names as text, and is written whatever is damaged."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError, audit
from histods.printing import escaped
from reports.page.packing import pack, script_json
from reports.page.write import SECTIONS, ReportResult, report
from tests.commands import histods
from tests.reports.page.workspaces import HOSTILE, Made, write_pair

if TYPE_CHECKING:
    from pathlib import Path


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self._inside: tuple[str, dict[str, str | None]] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self.texts.append((*self._inside, data))

    def handle_endtag(self, _: str) -> None:
        self._inside = None


def data_of(html: str, name: str = "data") -> Any:
    """The JSON of one of the page's data elements; a packed one is unpacked."""
    [text] = [text for tag, found, text in Elements(html).texts if found.get("id") == name]
    value = json.loads(text)
    return json.loads(gzip.decompress(base64.b64decode(value))) if name.startswith("packed") else value


def test_all_sections_are_there(page: ReportResult, made: Made) -> None:
    assert page.file == made.workspace / "report.html"
    assert page.sections == tuple(section.name for section in SECTIONS)
    assert (page.missing, page.problems) == ((), ())
    assert page.pictures > 30


def test_the_same_workspace_gives_the_same_bytes(page: ReportResult, made: Made, tmp_path: Path) -> None:
    again = report(made.workspace, tmp_path / "again.html")
    assert again.file.read_bytes() == page.file.read_bytes()


def test_the_policy_names_every_script_and_style_and_nothing_is_inline(html: str) -> None:
    elements = Elements(html)
    policy = next(found["content"] for tag, found in elements.tags if "http-equiv" in found)
    assert policy is not None
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    for tag, found, text in elements.texts:
        if found.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src" in policy
            assert f"'sha256-{digest}'" in policy
    for _, found in elements.tags:
        assert not [name for name in found if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            assert (found.get(name) or "#").startswith(("#", "data:"))


def test_names_are_text(html: str) -> None:
    assert "<img src=x" not in html
    assert "</script><b>" not in html
    assert not [found for tag, found in Elements(html).tags if found.get("src") == "x"]
    assert any(HOSTILE in name for name in data_of(html, "packed-findings")["name"])
    assert "\u202e" not in html
    assert "\\u202e" in json.dumps(data_of(html), ensure_ascii=False)


def test_json_in_a_script_ends_nothing() -> None:
    value = {"a": "</script><!-- \u2028 ]]> & <b>", "b": [float("nan"), 1.5]}
    text = script_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": value["a"], "b": [None, 1.5]}
    assert pack(value) == pack(value)
    assert escaped("a\nb\u202e\x1b") == "a\\nb\\u202e\\x1b"


def test_the_findings_of_the_page_are_those_of_the_audit(html: str, made: Made) -> None:
    packed, codes = data_of(html, "packed-findings"), data_of(html)["findings"]["codes"]
    counts = json.loads((made.workspace / "audit.json").read_text())["findings"]
    assert {row["code"]: row["count"] for row in codes} == counts
    assert len(packed["name"]) == len(packed["code"]) == len(packed["message"]) == sum(counts.values())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("manifest.parquet", "has changed since the audit wrote it"),
        ("findings.parquet", "has changed since the audit wrote it"),
        ("measurements.parquet", "not in order of their measurements"),
        ("remap/ten.parquet", "cannot be read as Parquet"),
        ("remap/ten.json", "cannot be read as JSON"),
        ("split.parquet", "cannot be read as Parquet"),
        ("shards/shards.json", "cannot be read as JSON"),
        ("runs/first/samples/step-00000040.png", "cannot be shown"),
        ("samples/first-ema/overview/samples.json", "cannot be read as JSON"),
    ],
)
def test_what_is_damaged_is_said_and_the_rest_is_shown(made: Made, tmp_path: Path, broken: str, said: str) -> None:
    space = tmp_path / "out"
    shutil.copytree(made.workspace, space)
    (space / broken).write_bytes(b"no longer what it was")
    result = report(space)
    text = result.file.read_text(encoding="utf-8")
    assert said in " ".join((*result.problems, *result.missing))
    assert said in text
    assert {"overview", "runs"} <= set(result.sections)
    if broken in ("manifest.parquet", "findings.parquet"):  # nobody knows, so nobody is told that all is well
        assert "Nothing has to be corrected" not in text
        assert "what has to be corrected is unknown" in text
        assert f"-w {space}" in text


def test_a_damaged_line_of_metrics_ends_the_curves(own: Made) -> None:
    metrics = own.workspace / "runs" / "first" / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([*lines[:10], "{broken", *lines[10:]]))
    result = report(own.workspace)
    assert any("metrics.jsonl is damaged from line 11 on" in line for line in result.problems)
    [first, _] = data_of(result.file.read_text(encoding="utf-8"))["runs"]["runs"]
    assert len(first["curves"]["loss"]) == 10


def test_an_audit_alone_names_the_commands_of_the_rest(tmp_path: Path) -> None:
    write_pair(tmp_path / "data" / "a.jpg", 1)
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    result = report(tmp_path / "out")
    assert result.sections == ("overview", "classes")
    text = " ".join(result.missing)
    assert all(f"histods {verb} " in text for verb in ("split", "shard", "train"))
    assert "The audit found no problems." in text


def test_a_dataset_of_which_nothing_can_be_used_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(b"")
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    result = report(tmp_path / "out")
    assert result.sections == ("overview", "findings", "thumbnails")
    assert result.pictures == 0
    assert any("There is no mask in use" in line for line in result.missing)


@pytest.mark.parametrize("value", [None, "x", -1, [], {"x": 1}, ["x"], 1e300])
@pytest.mark.parametrize("name", ["counts", "severities", "groups", "suggestions", "labels", "options", "command"])
def test_the_page_is_written_for_a_summary_edited_by_hand(
    made: Made, tmp_path: Path, name: str, value: object
) -> None:
    space = tmp_path / "out"
    for file in ("audit.json", "manifest.parquet", "findings.parquet", "runs"):
        copy = shutil.copytree if (made.workspace / file).is_dir() else shutil.copy
        copy(made.workspace / file, _folder(space) / file)
    audited = json.loads((space / "audit.json").read_text())
    (space / "audit.json").write_text(json.dumps(audited | {name: value}))
    assert "runs" in report(space).sections


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_a_dataset_that_is_gone_leaves_the_tables(own: Made) -> None:
    shutil.move(own.root, own.root.with_name("elsewhere"))
    result = report(own.workspace)
    assert result.pictures == 0
    assert "cannot be opened" in result.file.read_text(encoding="utf-8")


def test_a_workspace_with_nothing_and_a_place_in_the_dataset_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="There is no audit in"):
        report(tmp_path / "nothing")
    with pytest.raises(HistodsError, match="is not outside the dataset"):
        report(made.workspace, made.root / "report.html")
    with pytest.raises(HistodsError, match="is a folder; --out must name a file"):
        report(made.workspace, tmp_path)
    labels = tmp_path / "labels.yml"
    labels.write_text("0: Unknown")
    with pytest.raises(HistodsError, match="is not an HTML file; --out must name one, such as .*labels.html"):
        report(made.workspace, labels)
    assert labels.read_text() == "0: Unknown"
    assert not list(made.root.rglob("*.html"))


def test_the_commands_write_the_page(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / "data" / f"{number}.jpg", number)
    audited = histods("audit", tmp_path / "data", "-w", tmp_path / "out", "--report")
    assert audited.returncode == 0, audited.stderr
    assert f"Written:{tmp_path / 'out' / 'report.html'}(" in "".join(audited.stdout.split())
    assert (tmp_path / "out" / "report.html").is_file()
    result = histods("report", "-w", tmp_path / "out", "--out", tmp_path / "a.html", "--json")
    document = json.loads(result.stdout)
    assert document["file"] == (tmp_path / "a.html").as_posix()
    assert document["bytes"] == (tmp_path / "a.html").stat().st_size
    quiet = histods("report", "-w", tmp_path / "out", "--quiet")
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)


def test_pictures_over_the_limit_are_left_out(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.page.pictures.MAX_BYTES", 20_000)
    result = report(made.workspace, tmp_path / "small.html")
    pictures = data_of(result.file.read_text(encoding="utf-8"), "pictures")
    sizes = [sum(len(text) for text in one.values() if isinstance(text, str)) for one in pictures if one]
    assert sum(sizes[:-1]) < 30_000
    assert None in pictures


def test_large_images_are_made_small(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    Image.fromarray(np.full((600, 900, 3), 180, np.uint8)).save(root / "a.jpg")
    mask = np.zeros((600, 900), np.uint8)
    mask[300, 450] = 7
    Image.fromarray(mask).save(root / "a_mask.png")
    audit(root, workspace=tmp_path / "out", workers=1)
    result = report(tmp_path / "out")
    pictures = data_of(result.file.read_text(encoding="utf-8"), "pictures")
    [picture] = [one for one in pictures if one and 7 in one.get("labels", [])]
    assert picture["size"] == [900, 600]
