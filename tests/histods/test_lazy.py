"""Names that a package imports when they are first used."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from histods.lazy import lazy_exports


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("lazy_package")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    get, names = lazy_exports(module.__name__, {"mean": "statistics", "gone": "no_such_module"})
    vars(module).update(own=1, __getattr__=get, __dir__=names)
    return module


def test_a_name_is_that_of_its_home(package: ModuleType) -> None:
    import statistics

    assert package.mean is statistics.mean
    assert package.own == 1


def test_exports_are_listed_before_they_are_used(package: ModuleType) -> None:
    assert {"mean", "gone", "own"} <= set(dir(package))
    assert dir(package) == sorted(dir(package))


def test_another_name_is_missing_as_in_any_module(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'median'"):
        _ = package.median
    assert not hasattr(package, "median")


def test_a_home_that_cannot_be_imported_is_named(package: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = package.gone
