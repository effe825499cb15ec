"""Without a workspace, a verb takes the one that the environment names when it is called."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import histods
from histods.errors import HistodsError
from histods.io.workspace import Workspace

VERBS = [
    name
    for name in histods.__all__
    if inspect.isfunction(verb := getattr(histods, name)) and "workspace" in inspect.signature(verb).parameters
]


@pytest.mark.parametrize("name", VERBS)
def test_no_verb_decides_on_a_workspace_before_it_is_called(name: str) -> None:
    assert inspect.signature(getattr(histods, name)).parameters["workspace"].default is None


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        (None, None, "histods-out"),
        (None, "", "histods-out"),
        (None, "lab/out", "lab/out"),
        ("mine", "lab/out", "mine"),
        (Path("mine"), None, "mine"),
        (".", "lab/out", "."),
    ],
)
def test_the_workspace_of_a_call(
    given: str | Path | None, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HISTODS_WORKSPACE", raising=False)
    if variable is not None:
        monkeypatch.setenv("HISTODS_WORKSPACE", variable)
    assert Workspace.find(given).folder == Path(expected)


def test_verbs_find_each_other_s_work_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(root / f"{name}.jpg")
        Image.fromarray(np.full((16, 16), ord(name) % 5, np.uint8)).save(root / f"{name}_mask.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HISTODS_WORKSPACE", "first")
    histods.audit(root, workers=1)
    histods.remap()
    monkeypatch.setenv("HISTODS_WORKSPACE", "second")
    with pytest.raises(HistodsError, match="no audit in second"):
        histods.split()
    monkeypatch.setenv("HISTODS_WORKSPACE", "first")
    histods.split(test=0.5)
    assert histods.status().workspace == Path("first")
    assert json.loads(Path("first/audit.json").read_text())["root"] == root.as_posix()
    assert not Path("histods-out").exists()
