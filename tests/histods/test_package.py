"""What the three packages export: every verb by name, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import histods
import histods.shards
import reports
import training
import training.data

if TYPE_CHECKING:
    from types import ModuleType

PACKAGES = (histods, reports, training, histods.shards, training.data)


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in PACKAGES for name in package.__all__], ids=str
)
def test_every_name_that_a_package_exports_can_be_called(package: ModuleType, name: str) -> None:
    assert name in dir(package)
    assert callable(getattr(package, name))


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_no_module_hides_a_verb(package: ModuleType) -> None:
    """Importing a module sets its name in its package, where it would hide the verb of the same name."""
    root = Path(str(package.__file__)).parent
    assert not {path.stem for path in root.iterdir()} & set(histods.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018 - what an import of that name asks for


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_names_are_verbs_in_a_fresh_interpreter_too(package: ModuleType) -> None:
    name = package.__name__
    code = f"import {name} as p; print([name for name in dir(p) if name in p.__all__])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == f"{sorted(package.__all__)}\n"
