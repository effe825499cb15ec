"""Evaluations as `evaluation.json` and `masks.json` hold them, for tests of what reads them."""

from __future__ import annotations

from typing import Any

from histods.io.evaluation_file import (
    ClassScore,
    CopyTest,
    Distance,
    DownstreamScore,
    EvaluationFile,
    Faithfulness,
    Judge,
    NearPair,
)
from histods.io.mask_evaluation_file import MaskDistance, MaskEvaluationFile


def make_evaluation(**changes: Any) -> EvaluationFile:
    """An evaluation of a run of three classes, with every part."""
    values: dict[str, Any] = {
        "run": "default",
        "step": 12_000,
        "generated_from": "samples",
        "real_from": "the split test",
        "recipe": {"steps": 25},
        "generated": 400,
        "real": 400,
        "training": 3_000,
        "slides": 9,
        "width": 64,
        "height": 48,
        "jpeg_quality": 95,
        "seed": 0,
        "classes": ("Unknown", "Stroma", "Tumour <b>"),
        "judge": Judge(features="own", features_digest="d", width=32, segmenter_dice=0.8, segmenter_steps=1000),
        "distances": {
            "frechet": Distance(value=3.25, low=2.0, high=4.5, of_half=3.5, floor=1.125),
            "kernel": Distance(reason="400 images are fewer than 1,000."),
            "cmmd": Distance(value=0.5, low=0.4, high=0.6, of_half=0.55, floor=0.1),
            "precision": Distance(value=0.75, of_half=0.7, floor=0.9),
            "recall": Distance(value=0.25, of_half=0.2, floor=0.85),
        },
        "faithfulness": Faithfulness(
            classes=(
                ClassScore(name="Stroma", pixels=900, dice=0.6, iou=0.43, real_dice=0.8, real_iou=0.67),
                ClassScore(name="Tumour <b>", pixels=100, dice=0.3, iou=0.18, real_dice=0.6, real_iou=0.43),
            ),
            dice=0.45,
            real_dice=0.7,
            ratio=0.642857,
            confusion=((0, 0, 0), (0, 800, 100), (0, 70, 30)),
            real_confusion=((0, 0, 0), (0, 880, 20), (0, 30, 70)),
            ignored="Unknown",
        ),
        "copies": (
            CopyTest(
                space="features",
                authentic=12.5,
                real_authentic=48.0,
                c_t=-9.5,
                pairs=(NearPair(image="00000001", training="s/1 <i>", distance=0.1, ratio=0.05),),
                suspicious=True,
            ),
        ),
        "downstream": (DownstreamScore(data="both", percent=10, real=30, synthetic=400, dice=0.66, iou=0.5),),
        "warnings": ("Generated images are near <script>",),
    }
    return EvaluationFile(**(values | changes))


def make_mask_evaluation(**changes: Any) -> MaskEvaluationFile:
    """An evaluation of a run of masks: Fat is in no mask, and Nerve only in some of one kind."""
    nothing = MaskDistance(distance=None, floor=None)
    values: dict[str, Any] = {
        "run": "masks",
        "step": 900,
        "split": "test",
        "warnings": ("The split test has few masks <i>",),
        "real": 120,
        "generated": 200,
        "groups": 6,
        "mean_proportions": MaskDistance(distance=0.102, floor=0.051),
        "proportions": {
            "Tumour <b>": MaskDistance(distance=0.0224, floor=0.0111),
            "Nerve": MaskDistance(distance=0.03, floor=0.0),
            "Fat": MaskDistance(distance=0.0, floor=0.0),
        },
        "region_sizes": {"Tumour <b>": MaskDistance(distance=1.5, floor=0.35), "Nerve": nothing, "Fat": nothing},
        "adjacency": MaskDistance(distance=0.25, floor=0.09),
        "strips": MaskDistance(distance=0.0513, floor=0.0021),
        "real_strips": 0.0212,
        "generated_strips": 0.0725,
    }
    return MaskEvaluationFile(**(values | changes))
