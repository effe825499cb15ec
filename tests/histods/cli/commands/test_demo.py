"""The demo finds exactly what it planted, can be run again, and never touches a folder that it did not make."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from histods import HistodsError, audit, demo_pipeline
from histods.demo_pipeline import demo


@pytest.mark.usefixtures("_small_demo")
@pytest.mark.slow
def test_the_demo_goes_on_after_a_kill_and_with_more_steps_and_finds_what_it_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer pairs; the tour of the README makes all of them."""
    monkeypatch.setattr(demo_pipeline, "PAIRS", 200)
    folder = tmp_path / "demo"
    process = subprocess.Popen(
        [sys.executable, "-m", "histods", "demo", str(folder), "-q"], start_new_session=True
    )
    while process.poll() is None and not (folder / "unlabelled").is_dir():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "planted.csv").exists()
    result = demo(folder, steps=6, workers=2)
    assert (result.missed, result.invented) == (frozenset(), frozenset())
    with (folder / "planted.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result.planted) > 100
    assert {code for code, _ in result.planted} == set(result.audit.findings)
    neither = {path for code, path in result.planted if code in ("looks_like_mask", "outside_layout")}
    pictures = set(result.audit.manifest.to_polars()["image_path"].drop_nulls())
    assert result.audit.counts.images == len(pictures - neither)
    assert result.split.check.sound
    usable = result.audit.counts.conditional + result.audit.counts.unconditional
    assert sum(samples for _, samples, _ in result.shards.splits.values()) == usable
    assert set(result.shards.splits) == {"train", "val", "test"}
    trained = result.training
    assert trained is not None
    assert (trained.run.step, trained.run.finished) == (6, True)
    assert len(trained.latents.latents.classes) == trained.run.config.model.num_classes == 5
    made = audit(trained.samples.folder, workspace=tmp_path / "made", workers=1)
    assert (made.counts.pairs, made.counts.excluded) == (16, 0)
    again = demo(folder, steps=6, workers=2)
    assert again.audit.files_read == 0
    assert again.shards.splits == result.shards.splits
    assert again.training is not None
    assert (again.training.run.began, again.training.samples.written) == (6, 0)
    longer = demo(folder, steps=8, workers=2)
    assert longer.training is not None
    assert (longer.training.run.began, longer.training.run.step, longer.training.samples.written) == (6, 8, 16)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(HistodsError) as refused:
        demo(tmp_path)
    assert str(refused.value) == (f"{tmp_path} is not new, empty or from an earlier demo; choose another folder.")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
