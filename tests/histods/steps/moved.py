"""Pairs under awkward names, and what is moved of them, for tests of fix."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from histods import HistodsError, audit, fix

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.measurement.audit_result import AuditResult
    from histods.steps.fix import FixResult

    Tree = dict[str, tuple[bytes | str | None, int]]


MEMORY = Path("/dev/shm")  # noqa: S108 - another file system, on every Linux
NAMES = ("a", "-dash", "with space", "dots.in.tiff-1", "ärmel_日本", "deep/er/x", "x\ny", "%s{key}")
needs_memory = pytest.mark.skipif(
    not MEMORY.is_dir() or MEMORY.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="needs a second file system",
)


def tree(folder: Path) -> Tree:
    """Everything below a folder and the folder itself: content, or a link's target, and time."""
    found: Tree = {}
    for path in [folder, *folder.rglob("*")]:
        content: bytes | str | None = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (content, path.lstat().st_mtime_ns)
    return found


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def write_pair(root: Path, name: str, value: int | None = 1, shade: int = 0) -> None:
    """An image and a mask of one label; no mask where the value is None."""
    image = root / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(image)
    if value is not None:
        Image.new("L", (8, 8), value).save(root / f"{name}_mask.png")


def make_pairs(folder: Path) -> Path:
    """Pairs under awkward names, every second one with a zero mask."""
    for number, name in enumerate(NAMES):
        write_pair(folder, name, number % 2, shade=number)
    return folder


def look(root: Path, **options: Any) -> AuditResult:
    return audit(root, workspace=root.parent / "out", workers=1, **options)


def move(root: Path, code: str, *, apply: bool = True, to: str = "away") -> FixResult:
    return fix(code, to=root.parent / to, apply=apply, workspace=root.parent / "out")


def line(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def forget_the_end(journal: Path) -> None:
    """The journal as a kill before its last line leaves it."""
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]) + b'{"sta')
