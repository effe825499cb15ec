"""`histods evaluate`: what was found, as tables and as JSON; evaluations are made by other tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from histods.cli.commands.evaluate import show_evaluation, to_document
from histods.io.evaluation_file import Distance
from tests.evaluations import make_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable

    from histods.io.evaluation_file import EvaluationFile
    from training.verbs.evaluate import EvaluateResult


def _result(document: EvaluationFile) -> EvaluateResult:
    verbs = pytest.importorskip("training.verbs.evaluate")
    made: EvaluateResult = verbs.EvaluateResult(
        folder=Path("/out"),
        record=Path("/out/evaluation.json"),
        pairs=Path("/out/copies.png"),
        device="cpu",
        document=document,
    )
    return made


def test_every_part_is_shown_with_its_floor_and_its_warnings(printed: Callable[..., str]) -> None:
    shown = printed(show_evaluation, _result(make_evaluation()))
    for said in (
        "Evaluation of default at step 12,000: 400 generated and 400 real images",
        "Fréchet distance less 3.25 2 to 4.5 3.5 1.125",
        "kernel distance (KID): 400 images are fewer than 1,000.",
        "Stroma 0.600 0.800 0.75",
        "mean 0.450 0.700 0.64",
        "features 12.5 48.0 -9.50 yes",
        "both, 10 % of the real 30 400 0.660 0.500",
        "warning: Generated images are near <script>.",
    ):
        assert said in shown


def test_two_folders_without_masks_and_training_images_are_shown_without_these_tables(
    printed: Callable[..., str],
) -> None:
    document = make_evaluation(run=None, step=None, faithfulness=None, copies=(), downstream=(), warnings=())
    shown = printed(show_evaluation, _result(document))
    assert "Evaluation of two folders" in shown
    for left_out in ("Faithfulness", "copies?", "Segmenters", "warning"):
        assert left_out not in shown


def test_a_metric_without_an_interval_leaves_its_cell_empty(printed: Callable[..., str]) -> None:
    document = make_evaluation(distances=make_evaluation().distances | {"cmmd": Distance(value=0.5)})
    assert "CMMD less 0.5" in printed(show_evaluation, _result(document))


def test_the_document_is_json_with_the_same_numbers() -> None:
    document = json.loads(json.dumps(to_document(_result(make_evaluation()))))
    assert document["evaluation"]["distances"]["frechet"]["floor"] == 1.125
    assert document["record"] == "/out/evaluation.json"
