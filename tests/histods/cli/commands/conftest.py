"""A small dataset that went through every step but training, and commands run on it in this process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from histods import remap, shard, split
from tests import commands
from tests.histods.checks.mask_files import photograph
from tests.in_process import all_here, audit_here

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

MAP = """
name: two
classes: [Unknown, "Tissue ä"]
map: {Unknown: [0], "Tissue ä": ["1-9"]}
"""


@dataclass(frozen=True)
class Place:
    """A folder with a dataset, a label map and a workspace."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command on this workspace; it prints no line that a terminal would fold."""
        with all_here():
            done = commands.histods(*words, "-w", self.out)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Eight pairs on two slides, an image without a mask, and a mask cut short; no test changes it."""
    place = Place(tmp_path_factory.mktemp("place"))
    for number in range(8):
        path = place.data / f"slide {number % 2}" / f"p{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(number)[:32, :32]).save(f"{path}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[: 4 * number] = 1 + number % 3
        Image.fromarray(mask).save(f"{path}_mask.png")
    shutil.copy(place.data / "slide 0" / "p0.png", place.data / "alone.png")
    (place.data / "slide 1" / "p1_mask.png").write_bytes(b"\x89PNG")
    (place.folder / "two.yml").write_text(MAP, encoding="utf-8")
    audit_here(place.data, workspace=place.out, group_regex="^(slide .)/", hash=True)
    remap(workspace=place.out, map=place.folder / "two.yml")
    split(workspace=place.out, test=0.4)
    with all_here():
        shard(workspace=place.out)
    return place


@pytest.fixture
def copied(place: Place, tmp_path: Path) -> Place:
    """The same for one test that changes it."""
    shutil.copytree(place.folder, tmp_path / "copied")
    for name in ("data", "two.yml"):
        assert (tmp_path / "copied" / name).exists()
    again = Place(tmp_path / "copied")
    shutil.rmtree(again.out)
    audit_here(again.data, workspace=again.out, group_regex="^(slide .)/", hash=True)
    return again


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a function prints on a console of 80 columns, as one line without repeated blanks."""

    def call(show: Callable[..., None], *arguments: Any) -> str:
        from histods.cli.console import make_results

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            show(make_results(quiet=False, json_output=False), *arguments)
        shown = capsys.readouterr().out
        return " ".join(shown.replace("\\\n", " ").split())

    return call
