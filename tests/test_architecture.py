"""Imports go down only: a floor may use the floors below it, and parts of one floor never each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Package or module -> floor. The longest matching prefix counts.
FLOORS = {
    "histods": 7,  # histods/__init__.py hands out the verbs by name
    "histods.__main__": 7,
    "histods.cli": 6,
    "histods.commands": 6,
    "histods.console": 6,
    "histods.demo_pipeline": 6,
    "histods.progress": 6,
    "reports": 5,
    "training": 5,
    "histods.steps": 4,
    "histods.synthetic": 4,
    "histods.jobs": 3,
    "histods.checks": 2,
    "histods.engines": 2,
    "histods.storage": 2,
    "histods.counting": 1,
    "histods.drafting": 1,
    "histods.coverage": 1,
    "histods.balance": 1,
    "histods.errors": 1,
    "histods.groups": 1,
    "histods.interrupts": 1,
    "histods.labels": 1,
    "histods.listed": 1,
    "histods.mask_colours": 1,
    "histods.layouts": 1,
    "histods.looks": 1,
    "histods.palette": 1,
    "histods.printing": 1,
    "histods.records": 1,
    "histods.runs": 1,
    "histods.samples": 1,
    "histods.splitting": 1,
    "histods.sampling": 1,
    "histods.sharding": 1,
    "histods.start": 1,
    "histods.tiling": 1,
}
# Modules of one part may use each other; on these floors a part is the whole floor.
ONE_PART = {6, 1}
HEAVY = {"torch", "matplotlib", "ray", "diffusers", "pandas"}


def modules() -> list[Path]:
    return sorted(
        path for package in ("histods", "reports", "training") for path in (ROOT / package).rglob("*.py")
    )


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    matching = [part for part in FLOORS if module == part or module.startswith(part + ".")]
    part = max(matching, key=len)
    assert part != "histods" or module in ("histods", "histods.label_maps"), f"{module} stands on no floor"
    return part


def imports(tree: ast.AST, *, top_only: bool = False) -> set[str]:
    found: set[str] = set()
    nodes = ast.iter_child_nodes(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = name_of(path)
    if module in ("histods", "histods.label_maps"):
        return
    part = part_of(module)
    for imported in imports(ast.parse(path.read_text())):
        if not imported.startswith(("histods.", "reports", "training")):
            continue
        other = part_of(imported) if imported != "histods.__version__" else part
        if other in (part, "histods"):
            continue
        allowed = FLOORS[other] < FLOORS[part] or (FLOORS[other] == FLOORS[part] and FLOORS[part] in ONE_PART)
        assert allowed, f"{module} (floor {FLOORS[part]}) imports {imported} (floor {FLOORS[other]})"


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
