"""An engine by name; a wrong name or number of workers is one line that says what to type."""

from __future__ import annotations

from typing import Any

import pytest

from histods.engines import engine_for
from histods.errors import HistodsError

pytestmark = pytest.mark.own_workers


def test_workers_are_as_many_as_asked_for_and_one_at_least() -> None:
    with engine_for("local", 3) as three, engine_for() as default:
        assert (three.workers, default.workers >= 1) == (3, True)


def test_an_unknown_engine_and_no_workers_are_refused() -> None:
    with pytest.raises(
        HistodsError, match="^There is no engine 'slurm'; give --engine local or ray, or omit --engine to use"
    ):
        engine_for("slurm")
    with pytest.raises(HistodsError, match="^--workers 0 is below 1; omit --workers to use all cores"):
        engine_for("local", 0)


def test_workers_that_are_no_number_are_refused() -> None:
    workers: Any = "2"
    with pytest.raises(
        HistodsError, match="^--workers '2' is not a whole number; omit --workers to use all cores"
    ):
        engine_for("local", workers)
