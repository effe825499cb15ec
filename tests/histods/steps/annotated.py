"""Images and annotations of them, for tests of import_data."""

from __future__ import annotations

import csv
import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from PIL import Image

from histods import HistodsError, import_data
from histods.engines import engine_for
from histods.engines.engine import Engine
from tests.in_process import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


HEIGHT, WIDTH = 30, 40
COLUMNS, ROWS = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
CENTRES = shapely.points(COLUMNS, ROWS)


@contextmanager
def work_here() -> Iterator[None]:
    """One worker is this process."""

    def engine(name: str, workers: int | None) -> Engine:
        return Engine(Here()) if workers == 1 else engine_for(name, workers)

    with pytest.MonkeyPatch.context() as patch:
        for step in ("audit", "import_data"):
            patch.setattr(f"histods.steps.{step}.engine_for", engine)
        yield


def make_images(folder: Path) -> Path:
    """Photographs: a.jpg, sub/b.png, c.tif."""
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "sub/b.png", "c.tif")):
        write_image(folder / name, number)
    return folder


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    pixels = np.random.default_rng(seed).integers(60, 200, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def run(root: Path, to: Path, **options: Any) -> Any:
    return import_data(root, to=to, workers=1, **options)


def mask_of(to: Path, key: str) -> NDArray[Any]:
    return np.asarray(Image.open(to / f"{key}_mask.png"))


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_out(to: Path) -> list[dict[str, str]]:
    with (to / "left_out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def random_ring(random: np.random.Generator) -> list[list[float]]:
    angles = np.sort(random.uniform(0, 2 * np.pi, 9))
    points = random.uniform((0, 0), (WIDTH, HEIGHT)) + np.column_stack([np.cos(angles), np.sin(angles)]) * 9
    return [*points.tolist(), points[0].tolist()]
