"""What `lint-imports` cannot say: nothing heavy at start, steps that meet through files, no endless file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAVY = {"torch", "matplotlib", "ray", "diffusers", "pandas"}


def modules() -> list[Path]:
    return sorted(
        path for package in ("histods", "reports", "training") for path in (ROOT / package).rglob("*.py")
    )


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, *, top_only: bool = False) -> set[str]:
    found: set[str] = set()
    nodes = ast.iter_child_nodes(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "histods").glob("steps/*.py")), ids=name_of)
def test_steps_never_import_each_other(path: Path) -> None:
    found = imports(ast.parse(path.read_text()))
    assert not {name for name in found if name.startswith("histods.steps")}


@pytest.mark.parametrize("path", sorted((ROOT / "histods").rglob("*.py")), ids=name_of)
def test_the_toolkit_imports_nothing_heavy_at_start(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(ast.parse(path.read_text()), top_only=True)}
    assert not tops & HEAVY


def test_importing_histods_loads_no_library() -> None:
    code = "import sys, histods; print(sorted({'numpy', 'polars', 'pyarrow'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    )


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
