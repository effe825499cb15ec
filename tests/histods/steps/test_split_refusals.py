"""split: what is refused, what is stale, and what a kill leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from histods import HistodsError, split
from histods.dataset.manifest import Manifest
from histods.errors import StaleFileError
from histods.io.atomic import file_digest
from histods.splits.split_table import read_split
from tests.commands import histods, in_own_process
from tests.histods.steps.split_sites import Sample, Site, numbered, refusal, write_dataset


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (
            [],
            {},
            "There are no samples in use to split in FOLDER/out (no image at all); 'histods show "
            "-w FOLDER/out' lists why; fix that, and run 'histods audit FOLDER/data --pairs "
            "pairs.csv -w FOLDER/out' again.",
        ),
        (
            numbered(3, role="excluded"),
            {},
            "There are no samples in use to split in FOLDER/out (all 3 excluded); 'histods show -w "
            "FOLDER/out' lists why; fix that, and run 'histods audit FOLDER/data --pairs pairs.csv "
            "-w FOLDER/out' again.",
        ),
        (
            numbered(4),
            {"folds": 5},
            "Each of 5 splits needs a group or a single image, but there are only 4 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(20, group="the only slide"),
            {},
            "Each of 2 splits needs a group or a single image, but there is only 1 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(9, digest="the same bytes"),
            {"folds": 2},
            "Each of 2 splits needs a group or a single image, but there is only 1 to share out; "
            "ask for fewer splits.",
        ),
        (
            numbered(4),
            {},
            "test would get no samples: the 4 to share out are in 4 groups or single images, too "
            "few to give it one; give it a larger fraction.",
        ),
        (numbered(4), {"seed": -1}, "--seed -1 is not between 0 and 2**64-1; give such a number."),
    ],
)
def test_what_cannot_be_split_is_refused(
    tmp_path: Path, samples: list[Sample], options: dict[str, Any], message: str
) -> None:
    site = Site(tmp_path, samples)
    assert refusal(site, **options) == message
    assert not site.space.split.exists()


def test_as_many_groups_as_folds_are_enough(tmp_path: Path) -> None:
    sizes = (1, 2, 3, 50, 400)
    samples = [Sample(key=f"{size}_{i}", group=str(size)) for size in sizes for i in range(size)]
    site = Site(tmp_path, samples)
    result = site.split(folds=5)
    assert sorted(side.samples for side in result.splits) == list(sizes)


def test_without_an_audit_or_with_a_changed_manifest_nothing_is_split(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="^There is no audit in "):
        split(workspace=tmp_path / "nothing")
    site = Site(tmp_path, numbered(10))
    Manifest(Manifest.read(site.space.manifest).table.slice(1), {}).write(site.space.manifest)
    with pytest.raises(StaleFileError, match="has changed since the audit wrote it; run "):
        site.split()


def test_a_new_audit_makes_the_split_stale_and_a_new_split_mends_it(tmp_path: Path) -> None:
    site = Site(tmp_path, numbered(20))
    site.split(test=0.25, seed=3)
    site.audit(numbered(21))
    with pytest.raises(StaleFileError) as refused:
        read_split(site.space, site.space.read_audit().manifest_digest)
    command = str(refused.value).split("'")[1]
    assert command == f"histods split --test 0.25 --seed 3 -w {site.space.folder}"
    assert histods(*command.split()[1:]).returncode == 0
    found = read_split(site.space, site.space.read_audit().manifest_digest)
    assert found is not None
    assert found[1] == file_digest(site.space.split)


ENDED_BEFORE_IT_RENAMES = """
import os, signal
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from histods.__main__ import main
main()
"""


def test_a_kill_leaves_the_old_split_or_the_new_one(tmp_path: Path) -> None:
    space = write_dataset(tmp_path / "out", 20_000, 20_000, 5, groups=300)
    split(workspace=space.folder, test=0.4)
    old = space.split.read_bytes()
    split(workspace=space.folder, test=0.2)
    new = space.split.read_bytes()
    assert old != new
    options = ["split", "--test", "0.2", "-w", str(space.folder), "-q"]
    split(workspace=space.folder, test=0.4)
    done = subprocess.run([sys.executable, "-c", ENDED_BEFORE_IT_RENAMES, *options], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(space.folder.rglob("*.part"))
    assert space.split.read_bytes() == old
    moments = random.Random(0)
    for _ in range(4):
        split(workspace=space.folder, test=0.4)
        for part in space.folder.rglob("*.part"):
            part.unlink()
        process = subprocess.Popen([sys.executable, "-m", "histods", *options])
        while process.poll() is None and not any(space.folder.rglob("*.part")):  # until something is written
            pass
        time.sleep(moments.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert space.split.read_bytes() in (old, new)
    split(workspace=space.folder, test=0.2)
    assert space.split.read_bytes() == new


@pytest.mark.parametrize(
    "kernels", [{"OPENBLAS_CORETYPE": "Prescott"}, {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}]
)
@pytest.mark.parametrize("groups", [0, 300])
def test_every_machine_makes_the_same_split(tmp_path: Path, groups: int, kernels: dict[str, str]) -> None:
    """Other kernels of the matrix product add in another order, which is no matter where every sum is exact."""
    space = write_dataset(tmp_path / "out", 3_000, 2_000, 5, groups=groups)
    split(workspace=space.folder, test=0.2, val=0.1)
    here = space.split.read_bytes()
    space.split.unlink()
    made = in_own_process(
        "split", "--test", "0.2", "--val", "0.1", "-w", space.folder, env={**os.environ, **kernels}
    )
    assert made.returncode == 0
    assert space.split.read_bytes() == here
