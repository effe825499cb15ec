"""`histods sample`: what was made, and the next command; images are made by other tests."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods.cli.commands.sample import parse_interval, show_sample, to_document
from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.verbs.sample import SampleResult


@pytest.fixture
def result() -> SampleResult:
    verbs = pytest.importorskip("training.verbs.sample")
    settings = pytest.importorskip("training.inference.sampling")
    made: SampleResult = verbs.SampleResult(
        folder=Path("/out"),
        contact_sheet=Path("/out/sheet.png"),
        record=Path("/out/record.json"),
        run=Path("/runs/my run"),
        step=12000,
        weights="ema",
        sampling=settings.Sampling(sampler="dpm", steps=25, guidance=1.5, eta=0.0, reference=False),
        seed=3,
        device="cpu",
        masks=1500,
        written=10,
        present=2990,
        passed_over=4,
        warnings=("class 3 [Ärzte] was never trained",),
    )
    return made


def test_what_was_made_is_shown_with_its_warnings(result: SampleResult, printed: Callable[..., str]) -> None:
    shown = printed(show_sample, result)
    for said in (
        "run /runs/my run at step 12,000 (ema)",
        "sampler DPM-Solver++(2M), 25 steps, guidance 1.5",
        "masks 1,500",
        "images there already 2,990",
        "Note: class 3 [Ärzte] was never trained.",
        "4 files beside the masks are no masks and were passed over.",
        "Written: /out (look at /out/sheet.png)",
        "Next: histods export --run '/runs/my run'",
    ):
        assert said in shown


def test_a_run_whose_workspace_has_real_images_is_evaluated_next(
    result: SampleResult, printed: Callable[..., str], tmp_path: Path
) -> None:
    space = tmp_path / "out"
    here = dataclasses.replace(result, run=space / "runs" / "my run")
    assert "Next: histods export --run" in printed(show_sample, here)
    (space / "shards").mkdir(parents=True)
    (space / "shards" / "shards.json").touch()
    assert f"Next: histods evaluate --run 'my run' -w {space}" in printed(show_sample, here)


def test_the_document_is_json_with_the_same_numbers(result: SampleResult) -> None:
    document = json.loads(json.dumps(to_document(result)))
    assert (document["folder"], document["run"], document["masks"]) == ("/out", "/runs/my run", 1500)
    assert document["sampling"]["guidance"] == 1.5


def test_an_interval_is_two_numbers() -> None:
    assert parse_interval("0.2:.7") == (0.2, 0.7)
    for wrong in ("", "0.2", "a:b", "0:0.5:1"):
        with pytest.raises(
            HistodsError, match="--guidance-interval is .*; it must be two shares of noise, LOW:HIGH"
        ):
            parse_interval(wrong)
