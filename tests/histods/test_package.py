"""What `import histods` gives: every verb by name, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import histods


@pytest.mark.parametrize("name", histods.__all__)
def test_every_name_that_the_package_exports_can_be_called(name: str) -> None:
    assert name in dir(histods)
    assert callable(getattr(histods, name))


def test_no_module_hides_a_verb() -> None:
    """Importing a module sets its name in its package, where it would hide the verb of the same name."""
    root = Path(histods.__file__).parent
    assert not {path.stem for path in root.iterdir()} & set(histods.__all__)


def test_names_are_verbs_in_a_fresh_interpreter_too() -> None:
    code = "import histods; print([name for name in dir(histods) if name in histods.__all__])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == f"{sorted(histods.__all__)}\n"
