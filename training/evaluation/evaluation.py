"""Compare sets of images in every way that an evaluation has, and write down what was found.

Shapes: N images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import write_bytes
from histods.io.evaluation_file import EvaluationFile, Judge
from training.distributed import choose_device
from training.evaluation.comparison import MAX_TRAINING, evenly
from training.evaluation.copying import SmallPictures, judge_copies
from training.evaluation.distances import Features, cut_in_halves, distances
from training.evaluation.downstream import score_downstream
from training.evaluation.feature_cache import features_of
from training.evaluation.features.base import load_features
from training.evaluation.features.own import OWN, OwnFeatures
from training.evaluation.image_sets import JPEG_QUALITY
from training.evaluation.judging import judge_faithfulness
from training.evaluation.overlaps import warn_of_overlap, warn_of_slides
from training.evaluation.segmenter.fit import fit_segmenter
from training.inference.contact_sheet import draw_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from histods.io.evaluation_file import CopyTest, DownstreamScore
    from histods.records import Progress
    from training.evaluation.comparison import Comparison
    from training.evaluation.features.base import FeatureExtractor
    from training.evaluation.image_sets import ImageSet
    from training.evaluation.segmenter.segmenter import Segmenter

POOR_DICE = 0.5
"""A segmenter with a smaller Dice coefficient on held-out real images is said to be a poor judge."""
FEW_SLIDES = 5
"""With fewer slides of real images, a warning says that intervals and floors are rough."""
COPIES = "copies.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How sets are compared.

    Attributes:
        home: folder of the segmenters and features that evaluations share.
        features: `own`, an encoder, or the weights of the Inception network.
        downstream: whether segmenters are trained on generated images, too.
        segmenter_steps: training steps of each segmenter.
        seed: the seed of segmenters, subsets and bootstrap.
        batch: images at once.
        device: where to compute; None for a GPU if there is one.
        progress: called with each stage, what is done of it, and all.
    """

    home: Path
    features: str
    downstream: bool
    segmenter_steps: int
    seed: int
    batch: int
    device: str | None
    progress: Progress


def compare(
    settings: Settings,
    sets: Comparison,
    synthetic: ImageSet | None,
    encoder: FeatureExtractor | None,
    folder: Path,
) -> tuple[EvaluationFile, Path | None]:
    """Compare sets of images, and write `evaluation.json` and `copies.png`.

    Args:
        settings: how.
        sets: the images.
        synthetic: generated images for masks of the training split, to train segmenters on; None for none.
        encoder: computes the features; None for the segmenter that is trained on the real training images.
        folder: where to write.

    Returns:
        What was found, and the picture of the most suspicious pairs, if there are training images.

    Raises:
        HistodsError: something that was asked for needs images or masks that there are not.
    """
    if settings.downstream and (synthetic is None or sets.training is None or not sets.real.masked):
        raise HistodsError(
            "--downstream needs masks of generated, of held-out and of training images; name the folder of the "
            "training images with --train."
        )
    segmenter = _segmenter(settings, sets)
    extract = encoder or _own_features(segmenter)
    training = sets.training
    if training is not None:
        training = training.select(evenly(np.arange(len(training)), MAX_TRAINING))
    half_N = cut_in_halves(sets.real.groups, settings.seed)
    made_half_N = half_N if sets.paired else cut_in_halves(sets.generated.groups, settings.seed)
    real_ND = _features(settings, sets.real, extract, "real")
    made_ND = _features(settings, sets.generated, extract, "generated")
    found = distances(
        Features(values_ND=real_ND, groups=sets.real.groups, half_N=half_N),
        Features(values_ND=made_ND, groups=sets.generated.groups, half_N=made_half_N),
        seed=settings.seed,
        progress=settings.progress,
    )
    copies: tuple[CopyTest, ...] = ()
    if training is not None and len(training) > 1:
        copies = tuple(_copies(settings, space, sets, training) for space in (extract, SmallPictures()))
    faithfulness = None
    if segmenter is not None and sets.generated.masked and sets.real.masked:
        faithfulness = judge_faithfulness(
            sets.generated, sets.real, segmenter, batch=settings.batch, progress=settings.progress
        )
    height, width = sets.real.image(0).shape[:2]
    document = EvaluationFile(
        run=sets.run,
        step=sets.step,
        generated_from=sets.generated_from,
        real_from=sets.real_from,
        recipe=sets.recipe,
        generated=len(sets.generated),
        real=len(sets.real),
        training=0 if training is None else len(training),
        slides=len(set(sets.real.groups)),
        width=width,
        height=height,
        jpeg_quality=JPEG_QUALITY,
        seed=settings.seed,
        classes=sets.classes,
        judge=_judge(extract, segmenter),
        distances=found,
        faithfulness=faithfulness,
        copies=copies,
        downstream=_downstream(settings, sets, synthetic),
        warnings=(
            *sets.warnings,
            *_warn_of_sets(settings, sets, training),
            *_warn(extract, segmenter, copies, len(sets.generated)),
        ),
    )
    document.write(folder)
    return document, _draw_pairs(sets, training, copies, folder)


def _segmenter(settings: Settings, sets: Comparison) -> Segmenter | None:
    """The segmenter of the training images; None if there are none with masks."""
    if sets.training is None or not sets.training.masked:
        return None
    return fit_segmenter(
        sets.training,
        classes=sets.classes,
        folder=settings.home / "segmenters",
        steps=settings.segmenter_steps,
        seed=settings.seed,
        groups=sets.training.groups,
        device=settings.device,
        progress=settings.progress,
    )


def load_encoder(settings: Settings) -> FeatureExtractor | None:
    """The encoder of the features, loaded before images are made; None for the features `own`.

    Raises:
        HistodsError: there is none, or it encodes no images.
    """
    return (
        None
        if settings.features == OWN
        else load_features(settings.features, device=choose_device(settings.device))
    )


def _own_features(segmenter: Segmenter | None) -> OwnFeatures:
    if segmenter is None:
        raise HistodsError(
            "The features 'own' are those of a segmenter that is trained on real training images, all with masks, "
            "and there are none: name their folder with --train, or an encoder with --features."
        )
    return OwnFeatures(segmenter)


def _features(settings: Settings, images: ImageSet, extract: FeatureExtractor, what: str) -> NDArray[np.float64]:
    return features_of(
        images,
        extract,
        settings.home / "features",
        batch=settings.batch,
        stage=f"features of {what} images",
        progress=settings.progress,
    )


def _copies(settings: Settings, extract: FeatureExtractor, sets: Comparison, training: ImageSet) -> CopyTest:
    """The test for copies in one space."""
    return judge_copies(
        "pixels" if isinstance(extract, SmallPictures) else "features",
        _features(settings, training, extract, "training"),
        _features(settings, sets.real, extract, "real"),
        _features(settings, sets.generated, extract, "generated"),
        training_keys=training.keys,
        generated_names=sets.generated.keys,
        seed=settings.seed,
    )


def _downstream(settings: Settings, sets: Comparison, synthetic: ImageSet | None) -> tuple[DownstreamScore, ...]:
    if not settings.downstream or synthetic is None or sets.training is None:
        return ()
    return score_downstream(
        sets.training,
        synthetic,
        sets.real,
        classes=sets.classes,
        folder=settings.home / "segmenters",
        steps=settings.segmenter_steps,
        seed=settings.seed,
        batch=settings.batch,
        device=settings.device,
        progress=settings.progress,
    )


def _judge(extract: FeatureExtractor, segmenter: Segmenter | None) -> Judge:
    return Judge(
        features=extract.name,
        features_digest=extract.digest,
        width=extract.width,
        segmenter_dice=None if segmenter is None else segmenter.validation.mean_dice,
        segmenter_steps=None if segmenter is None else int(segmenter.description.settings["steps"]),
    )


def _warn_of_sets(settings: Settings, sets: Comparison, training: ImageSet | None) -> Iterator[str]:
    """Sentences about sets that share pictures or slides, or are of few slides."""
    slides = len(set(sets.real.groups))
    if 1 < slides < FEW_SLIDES:
        yield f"The real images are of only {slides} slides: intervals and floors are rough"
    named = [("generated", sets.generated), ("real", sets.real)]
    if training is not None:
        named.append(("training", training))
        yield from warn_of_slides(sets.real.groups, training.groups)
    pictures = {name: _features(settings, images, SmallPictures(), name) for name, images in named}
    for (first, one), (second, other) in combinations(named, 2):
        yield from warn_of_overlap((first, second), (one.keys, other.keys), (pictures[first], pictures[second]))


def _warn(
    extract: FeatureExtractor, segmenter: Segmenter | None, copies: tuple[CopyTest, ...], generated: int
) -> Iterator[str]:
    """Sentences about what to be careful with."""
    if generated <= extract.width:
        yield (
            f"{generated:,} {'image is' if generated == 1 else 'images are'} too few for a Fréchet distance of "
            f"{extract.width} features; compare it only with its floor"
        )
    dice = None if segmenter is None else segmenter.validation.mean_dice
    if dice is not None and dice < POOR_DICE:
        yield (
            f"The segmenter finds the classes of held-out real images with a Dice coefficient of only {dice:.2f}, "
            "so it is a poor judge of generated ones; train it longer with --segmenter-steps"
        )
    for test in copies:
        if test.suspicious:
            yield (
                f"Compared by {test.space}, generated images are nearer to training images than real images of "
                "other slides are: look at copies.png before you share them"
            )


def _draw_pairs(
    sets: Comparison, training: ImageSet | None, copies: tuple[CopyTest, ...], folder: Path
) -> Path | None:
    """Draw the most suspicious pairs of each space as `copies.png`."""
    if training is None:
        return None
    made = {name: index for index, name in enumerate(sets.generated.keys)}
    known = {key: index for index, key in enumerate(training.keys)}
    pairs = [
        (
            f"{pair.image} | {pair.training}: {pair.ratio:.2f} ({test.space})",
            sets.generated.image(made[pair.image]),
            training.image(known[pair.training]),
        )
        for test in copies
        for pair in test.pairs
    ]
    path = folder / COPIES
    write_bytes(path, draw_pairs("Generated images (left) and the training images nearest to them", pairs))
    return path
