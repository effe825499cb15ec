"""Datasets with planted faults, their audit and repair, and everything that a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError, audit, repair, status
from tests.histods.remedies.planted import COLOURS, as_colours, as_palette, regions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from histods.measurement.audit_result import AuditResult
    from histods.steps.repair import RepairResult

    Tree = dict[str, tuple[bytes | None, int, int]]

MEMORY = Path("/dev/shm")  # noqa: S108 - another file system, on every Linux
LABELS = "labels:\n" + "".join(
    f"  {label}: {{name: class {label}, color: '#{red:02x}{green:02x}{blue:02x}'}}\n"
    for label, (red, green, blue) in COLOURS.items()
)
SIDE = 64


def truth(number: int) -> NDArray[np.uint8]:
    return regions(number, height=SIDE, width=SIDE)


PLANTED: dict[str, Callable[[NDArray[np.uint8]], Image.Image]] = {
    "wide_mask": lambda mask: Image.fromarray(mask.astype(np.uint16)),
    "scaled_mask": lambda mask: Image.fromarray(mask * 85),
    "not_an_index_mask": lambda mask: Image.fromarray(as_colours(mask)),
    "palette": as_palette,
    "rgb": lambda mask: Image.fromarray(np.dstack([mask] * 3)),
    "rgba": lambda mask: Image.fromarray(mask).convert("RGBA"),
    "gray_alpha": lambda mask: Image.fromarray(mask).convert("LA"),
}


def write_image(path: Path, seed: int, *, side: int = SIDE, **options: Any) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def make(root: Path, plant: Callable[[NDArray[np.uint8]], Image.Image] | None = None, *, pairs: int = 6) -> Path:
    """Pairs under awkward names; the masks of the first three are planted."""
    for number in range(pairs):
        name = ("a", "with space", "deep/er/ärmel", "-d", "e", "f", "g")[number % 7] + str(number)
        write_image(root / f"{name}.png", number)
        draw = plant if plant is not None and number < 3 else Image.fromarray
        draw(truth(number)).save(root / f"{name}_mask.png")
    (root / "a0_mask.png").chmod(0o640)
    return root


def tree(folder: Path) -> Tree:
    """Everything below a folder and the folder itself: content, time and permissions."""
    found: Tree = {}
    for path in [folder, *folder.rglob("*")]:
        state = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path.relative_to(folder))] = (content, state.st_mtime_ns, state.st_mode)
    return found


def look(root: Path, **options: Any) -> AuditResult:
    return audit(root, workspace=root.parent / "out", workers=1, **options)


def mend(root: Path, code: str, **options: Any) -> RepairResult:
    chosen = {"in_place": True} if "to" not in options else {}
    return repair(code, workspace=root.parent / "out", workers=1, **{"apply": True} | chosen | options)


def audit_state(root: Path) -> str:
    parts = status(workspace=root.parent / "out").parts
    return next(part.state for part in parts if part.name == "audit")


def line(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", PLANTED["wide_mask"])


def fix_undo(result: RepairResult) -> RepairResult:
    return repair(undo=result.journal)
