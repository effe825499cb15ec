"""One outcome per chunk, whatever happens to the workers; the same promises for every engine."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest

from histods.engines import Done, Failed, engine_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.own_workers
ENGINES = ["local", pytest.param("ray", marks=pytest.mark.ray)]
KILLER, RAISER = 13, 17


def double(chunk: Sequence[int]) -> list[int]:
    """The work of these tests; two items are poison."""
    for item in chunk:
        if item == KILLER:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == RAISER:
            raise ValueError(f"cannot double {item}\nand a second line")
    return [2 * item for item in chunk]


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        pytest.importorskip("ray", reason="the ray extra is not installed")


def run(name: str, items: list[int], size: int, workers: int = 2) -> tuple[dict[int, int], dict[int, str]]:
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    values: dict[int, int] = {}
    errors: dict[int, str] = {}
    with engine_for(name, workers) as engine:
        for outcome in engine.run(double, chunks):
            match outcome:
                case Done(chunk, value):
                    assert not values.keys() & set(chunk), "a chunk came back twice"
                    values.update(zip(chunk, value, strict=True))
                case Failed(chunk, error):
                    (item,) = chunk
                    errors[item] = error
    return values, errors


# Stays before the tests that share a cluster: this one starts and stops its own.
@pytest.mark.parametrize("engine", ENGINES)
def test_no_chunks_give_no_outcome(engine: str) -> None:
    assert run(engine, [], 5) == ({}, {})


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that pools join, since starting one takes seconds."""
    import ray

    ray.init(num_cpus=2, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture
def joined(request: pytest.FixtureRequest, engine: str) -> str:
    """The engine's name; for Ray there is a cluster already."""
    if engine == "ray":
        request.getfixturevalue("cluster")
    return engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [1, 2])
def test_every_chunk_has_one_outcome(joined: str, workers: int) -> None:
    values, errors = run(joined, list(range(100, 400)), 7, workers)
    assert values == {item: 2 * item for item in range(100, 400)}
    assert errors == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_poison_is_narrowed_to_its_item_and_nothing_else_is_lost(joined: str) -> None:
    items = list(range(60))
    values, errors = run(joined, items, 8)
    assert set(errors) == {KILLER, RAISER}
    assert values == {item: 2 * item for item in items if item not in errors}
    assert errors[KILLER] == "the worker process died while reading it (out of memory?)"
    assert errors[RAISER] == f"ValueError: cannot double {RAISER}"
