"""The notebook runs from its first cell to its last, and shows something after each."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.trained_runs import TINY

NOTEBOOK = Path(__file__).parent.parent / "docs" / "first-steps.ipynb"
CELLS = [
    (cell, "".join(cell["source"]))
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as notebooks do, and give the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), f"the cell shows nothing: {source}"
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - a notebook of our own
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307
    if hasattr(value, "_repr_png_"):
        assert value._repr_png_()
    return value


def test_the_notebook_is_kept_without_outputs() -> None:
    assert len(CELLS) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell, _ in CELLS)


@pytest.mark.usefixtures("_coarse_charts")
@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run in this process, in one namespace, with a smaller network than it shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HISTODS_WORKSPACE", raising=False)
    names: dict[str, Any] = {}
    shown = []
    for _, source in CELLS:
        smaller = source.replace(
            "\nrun = train",
            f"\nSETTINGS = {[*TINY, 'run.steps=2', 'run.preview_every=2', 'run.preview_steps=2']}\nrun = train",
        )
        shown.append(run_cell(smaller, names))
    tables = [value for value in shown if hasattr(value, "_repr_html_")]
    assert [type(value).__name__ for value in tables if hasattr(type(value), "__dataclass_fields__")] == [
        "AuditResult",
        "RemapResult",
        "TrainResult",
        "StatusResult",
    ]
    assert all(value is not None for value in shown)
    assert {stage.name: stage.state for stage in names["status"]().parts}["shards"] == "done"
    assert names["run"].finished
    assert (tmp_path / "histods-out" / "charts").is_dir()
