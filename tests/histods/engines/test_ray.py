"""Where Ray is not installed, that is one line with the pip command; where it is, see test_engines."""

from __future__ import annotations

import sys

import pytest

from histods.engines import engine_for
from histods.errors import MissingExtraError


def test_without_ray_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as caught:
        engine_for("ray", 2)
    assert str(caught.value) == "--engine ray needs Ray, which is not installed; run: pip install 'histods[ray]'."
