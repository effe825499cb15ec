"""The README and docs say what is true: commands, checks, columns, tree and tour are held against the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from histods import Manifest, __version__
from histods.checks import CHECKS
from histods.cli.main import app
from histods.dataset.manifest import SCHEMA
from histods.dataset.pairs_csv import read_pairs
from tests.commands import histods
from tests.forked import complete

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/**/*.md"))}


def blocks(language: str, text: str = README) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [content for name, content in fenced if name == language]


def table(page: str, header: str) -> list[list[str]]:
    """Rows of the table under a header line, cells without their backticks."""
    body = PAGES[page].split(header + "\n", 1)[1].split("\n", 1)[1]
    rows = []
    for line in body.splitlines():
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_the_table_of_checks_is_the_list_of_checks() -> None:
    expected = [[check.code, check.severity, check.summary] for check in CHECKS]
    assert table("checks.md", "| code | severity | what it means |") == expected


def test_the_table_of_thresholds_is_that_of_the_checks() -> None:
    expected = [
        [f"checks.{check.code}.{one.name}", f"{one.default:g}", one.meaning, one.source]
        for check in CHECKS
        for one in check.thresholds
    ]
    assert table("quality.md", "| threshold | default | what is flagged | source |") == expected


def test_the_manifest_s_columns_are_all_described() -> None:
    rows = table("manifest.md", "| column | type | meaning |")
    assert [row[0] for row in rows] == SCHEMA.names
    types = {"string": "string", "uint8": "uint8", "uint32": "uint32", "int64": "int64"}
    for name, kind, meaning in rows:
        stored = str(SCHEMA.field(name).type)
        assert kind == types.get(stored, stored.replace("list<item: ", "list<").replace("list<element: ", "list<"))
        assert meaning


def test_the_tree_names_every_folder_and_nothing_that_is_not_there() -> None:
    listed = set()
    tree = next(block for block in blocks("", PAGES["architecture.md"]) if "pyproject.toml" in block)
    folder: dict[int, str] = {}
    for line in tree.splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        for name in re.findall(r"\S+\.(?:py|yml|csv|toml|txt|md)(?=\s|$)|\S+/(?=\s|$)|Makefile|\.ci/run", line):
            path = folder.get(indent - 1, "") + name
            if name.endswith("/"):
                folder[indent] = path
            listed.add(path)
    for path in listed:
        assert (ROOT / path).exists(), path
    folders = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for package in ("histods", "reports", "training")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert folders <= listed


def commands() -> list[str]:
    """Every histods command line of the README and of docs, in blocks and in running text."""
    text = "\n".join([README, *PAGES.values()])
    lines = [line for block in blocks("sh", text) for line in block.splitlines()]
    lines += re.findall(r"`(histods [^`]+)`", text)
    return [line.split("  #")[0].strip() for line in lines if line.startswith("histods ")]


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_and_option_exists(line: str) -> None:
    words = shlex.split(line)[1:]
    group = typer.main.get_command(app)
    known = {option for parameter in group.params for option in parameter.opts}
    if words[0] in group.commands:  # type: ignore[attr-defined]
        command = group.commands[words.pop(0)]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_every_command_is_in_the_docs() -> None:
    group = typer.main.get_command(app)
    assert {line.split()[1] for line in commands()} >= set(group.commands)  # type: ignore[attr-defined]


def test_the_example_manifest_is_read(tmp_path: Path) -> None:
    rows = read_pairs(ROOT / "data_manifest.example.csv", tmp_path)
    assert rows.columns[:4] == ["image", "mask", "group", "split"]
    assert len(rows) > 1


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert first is not None
    assert first.group(1) == __version__
    assert version("histods") == __version__
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.usefixtures("_small_demo")
@pytest.mark.slow
def test_the_tour_does_what_the_readme_shows(tmp_path: Path) -> None:
    """The commands of the tour, one after the other; the audit's output is the one that is printed there."""
    tour = next(block for block in blocks("sh") if "histods demo" in block)
    # The same with a smaller network, fewer steps of training and coarser charts.
    tour = tour.replace("demo histods-demo ", "demo histods-demo --steps 4 ")
    smaller = ("run.steps=4", "run.preview_every=0", "model.dim=8", "model.dim_mults=[1,2]")
    tour = tour.replace("histods train ", f"histods train {' '.join(f'--set {setting}' for setting in smaller)} ")
    environment, folder = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}, tmp_path
    printed = []
    for line in tour.splitlines():
        word, *words = shlex.split(line, comments=True)
        if word == "cd":
            folder /= words[0]
        elif word == "export":
            environment |= dict([words[0].split("=")])
        else:
            result = histods(*words, cwd=folder, env=environment)
            # The audit finds what was planted.
            assert result.returncode == (1 if words[0] == "audit" else 0), result.stderr
            printed += [" ".join(text.split()) for text in (result.stdout + result.stderr).splitlines()]
    shown = next(block for block in blocks("text") if "Samples" in block)
    for line in shown.splitlines():
        if line.strip() not in ("", "..."):
            assert " ".join(line.split()) in printed
    texts = [README, *(PAGES[name] for name in ("tour.md", "shards.md", "training.md"))]
    code = "\n".join(block for text in texts for block in blocks("python", text))
    complete([sys.executable, "-c", code], env=environment, prepare=partial(os.chdir, folder))
    manifest = Manifest.read(tmp_path / "histods-demo" / "tour" / "manifest.parquet")
    assert len(manifest) == 615


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_of_pages_outside_docs_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()]


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """Dead links, anchors and names in the reference are warnings."""
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(mkdocs, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "api" / "training" / "index.html").is_file()
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert not [page for page in pages if re.search(r'(?:src|href)="https?://(?:fonts|cdn|unpkg)', page)]
