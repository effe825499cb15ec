"""A small dataset with awkward names and formats, audited: what shards and loaders are tested on."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import audit, demo_pipeline, shard
from histods.engines.local import LocalPool
from histods.interrupts import kill_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Tests run beside each other: two threads each would wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """What a test leaves as answer to Ctrl-C would end the process later, in the middle of another test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


_HERE = Path.cwd()
_idle: dict[int, list[Any]] = {}
"""Executors whose workers, which are in `_HERE`, wait for the next test that wants as many: one costs 0.4 s."""


@pytest.fixture(autouse=True)
def _warm_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tests take over each other's workers; those of `own_workers` start and end them as users do."""
    if request.node.get_closest_marker("own_workers") is not None:
        return
    start, close = LocalPool._start, LocalPool.close

    def take(pool: LocalPool) -> Any:
        while (waiting := _idle.get(pool.workers, [])) and Path.cwd() == _HERE:
            executor = waiting.pop()
            if executor._flags.broken is None and not executor._flags.shutdown:
                return executor
        return start(pool)

    def put_back(pool: LocalPool) -> None:
        executor = pool._executor
        unsound = executor._flags.broken is not None or executor._flags.shutdown
        if unsound or executor._pending_work_items or Path.cwd() != _HERE:
            close(pool)
            return
        _idle.setdefault(pool.workers, []).append(executor)
        with suppress(ValueError):
            kill_workers.remove(pool._kill)

    monkeypatch.setattr(LocalPool, "_start", take)
    monkeypatch.setattr(LocalPool, "close", put_back)


def pytest_sessionfinish() -> None:
    """Have the workers that wait end by themselves: a killed one would not say which lines it ran."""
    for executors in _idle.values():
        for executor in executors:
            executor.shutdown(wait=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests begin first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def _coarse_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as coarse PNG files, each drawn once in a test, and nothing of the other formats: drawing is slow."""
    from matplotlib.figure import Figure

    draw, drawn = Figure.savefig, set()

    def save(figure: Figure, path: Path, **options: Any) -> None:
        if options["format"] == "png" and path.name not in drawn:
            draw(figure, path, format="png", dpi=30)
            drawn.add(path.name)
        else:
            path.touch()

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def _small_demo(monkeypatch: pytest.MonkeyPatch, _coarse_charts: None) -> None:
    """A demo that trains a smaller network, samples with fewer steps, and draws coarse charts."""
    smaller = (*demo_pipeline.SETTINGS, "model.dim=8", "model.dim_mults=[1, 2]")
    monkeypatch.setattr(demo_pipeline, "SETTINGS", smaller)
    monkeypatch.setattr(demo_pipeline, "SAMPLING_STEPS", 2)


MAP = """
name: three
classes: [Unknown, Tumour, Stroma]
map: {Unknown: [0, 1], Tumour: ["2-9"], Stroma: ["10-700"]}
"""
LOOKUP = np.array([0, 0] + [1] * 8 + [2] * 691, dtype=np.uint8)
AWKWARD = ("plain", "with space", "dots.in.tiff-xy_79", "ärmel_日本", "-dash", "x" * 120, "UPPER", "a%2Eb")


@dataclass(frozen=True)
class Site:
    """A dataset of pairs and its workspace; `labels` are the source labels of each key's mask, if it has one."""

    root: Path
    workspace: Path
    map: Path
    images: dict[str, Path]
    labels: dict[str, NDArray[np.uint16] | None]

    def pixels(self, key: str) -> NDArray[np.uint8]:
        """The image as Pillow decodes it."""
        return np.asarray(Image.open(self.images[key]).convert("RGB"))

    def classes(self, key: str) -> NDArray[np.uint8] | None:
        """The mask after the label map, computed by itself."""
        labels = self.labels[key]
        return None if labels is None else LOOKUP[labels]


def make_site(folder: Path, *, pairs: int = 40, size: int = 48, seed: int = 0) -> Site:
    """Write the dataset and audit it: all image and mask formats, masks of 8 and 16 bits, palettes, zero masks."""
    random = np.random.default_rng(seed)
    site = Site(folder / "data", folder / "out", folder / "three.yml", {}, {})
    site.map.parent.mkdir(parents=True, exist_ok=True)
    site.map.write_text(MAP)
    for number in range(pairs):
        key = f"slide.{number % 5}/{AWKWARD[number % len(AWKWARD)]}_{number:03d}"
        suffix = (".jpg", ".png", ".JPEG", ".tif")[number % 4]
        image = site.root / (key + suffix)
        image.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size)).save(image)
        site.images[key] = image
        mask = site.root / f"{key}_mask"
        site.labels[key] = None if number % 10 == 9 else write_mask(mask, number, size, random)
    audit(
        site.root,
        workspace=site.workspace,
        group_regex=r"^(slide\.\d)",
        allow_unpaired=True,
        hash=True,
        workers=1,
    )
    return site


def write_mask(path: Path, number: int, size: int, random: np.random.Generator) -> NDArray[np.uint16]:
    """A mask of rectangles in one of five ways of storing it; every fourth is zero."""
    labels = np.zeros((size, size), np.uint16)
    kind = number % 5
    if number % 4:
        for _ in range(3):
            top, left = random.integers(0, size - 8, 2)
            labels[top : top + 20, left : left + 12] = random.integers(0, 601 if kind == 3 else 40)
    name = f"{path}.{'tif' if kind == 4 else 'png'}"
    if kind == 3:
        Image.fromarray(labels).save(name)
    elif kind == 2:
        image = Image.fromarray(labels.astype(np.uint8), mode=None)
        image.putpalette(bytes(random.integers(0, 255, 768, dtype=np.uint8)))
        image.save(name)
    else:
        Image.fromarray(labels.astype(np.uint8)).save(name)
    return labels


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A fresh dataset for one test."""
    return make_site(tmp_path)


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A dataset that no test changes."""
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def new_site() -> Callable[..., Site]:
    """Makes datasets of other sizes."""
    return make_site


@pytest.fixture(scope="session")
def folder(shared_site: Site) -> Path:
    """Shards of the dataset that no test changes, under a label map of three classes."""
    out = shared_site.workspace.parent / "for-loading"
    shard(workspace=shared_site.workspace, map=shared_site.map, out=out, shard_mb=1, workers=1)
    return out
