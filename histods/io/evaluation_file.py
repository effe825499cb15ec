"""What `evaluation.json` holds: written by `histods evaluate`, and read by the report page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from histods.io.atomic import write_json
from histods.io.workspace import read_as

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
FILE = "evaluation.json"
METRICS = {
    "frechet": "Fréchet distance",
    "kernel": "kernel distance (KID)",
    "cmmd": "CMMD",
    "precision": "precision",
    "recall": "recall",
}
"""The metrics by name in the file, and what tables call them; of the first three, less is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """One metric of generated against real images.

    Attributes:
        value: between all real and all generated images; None if it cannot be computed.
        low: lower end of its 95 % interval, by bootstrap over slides; None if there is none.
        high: upper end.
        of_half: between the first half of the real images and those generated for the second half: as many images
            as for `floor`, so these two can be compared.
        floor: between the two halves of the real images, cut by slide.
        reason: why something is missing.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    of_half: float | None = None
    floor: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """How well the segmenter finds a class in generated and in real images; None where no mask has it.

    Attributes:
        name: the class.
        pixels: pixels of the class in the masks of the generated images.
        dice: Dice coefficient of the segmenter on generated images against their masks.
        iou: intersection over union, likewise.
        real_dice: Dice coefficient on real images of the same split.
        real_iou: intersection over union, likewise.
    """

    name: str
    pixels: int
    dice: float | None = None
    iou: float | None = None
    real_dice: float | None = None
    real_iou: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """Whether generated images show what their masks say, as a segmenter trained on real images sees it.

    Attributes:
        classes: the scores of each class.
        dice: mean Dice coefficient over classes on generated images.
        real_dice: the same on real images.
        ratio: `dice` divided by `real_dice`; 1 means that the masks are followed as well as by real images.
        confusion: pixels of generated images by class of the mask (row) and of the segmenter (column).
        real_confusion: the same of real images.
        ignored: class whose pixels in masks do not count; None if all count.
    """

    classes: tuple[ClassScore, ...]
    dice: float | None
    real_dice: float | None
    ratio: float | None
    confusion: tuple[tuple[int, ...], ...]
    real_confusion: tuple[tuple[int, ...], ...]
    ignored: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NearPair:
    """A generated image and the training image nearest to it.

    Attributes:
        image: name of the generated image.
        training: key of the training image.
        distance: between the two.
        ratio: that distance divided by the distance of the training image to its own nearest neighbour among
            training images; below 1, the generated image counts as not authentic.
    """

    image: str
    training: str
    distance: float
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyTest:
    """Whether generated images are copies of training images, in one space.

    Attributes:
        space: `features` or `pixels`.
        authentic: percentage of generated images that are authentic (AuthPct).
        real_authentic: the same of held-out real images.
        c_t: the statistic C_T; far below 0, generated images are nearer to the training images than held-out real
            images are. None if there are too few images.
        pairs: the most suspicious pairs, worst first.
        suspicious: whether the numbers are beyond the stated levels.
    """

    space: str
    authentic: float
    real_authentic: float
    c_t: float | None
    pairs: tuple[NearPair, ...]
    suspicious: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DownstreamScore:
    """A segmenter trained on some data, tested on held-out slides.

    Attributes:
        data: `real`, `synthetic` or `both`.
        percent: percentage of the real training images that were used.
        real: number of real training images.
        synthetic: number of generated training images.
        dice: mean Dice coefficient over classes.
        iou: mean intersection over union.
    """

    data: str
    percent: int
    real: int
    synthetic: int
    dice: float | None
    iou: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """What the images were looked at with.

    Attributes:
        features: name of the features: `own`, an encoder, or `inception`.
        features_digest: digest of their weights.
        width: number of features.
        segmenter_dice: mean Dice coefficient of the segmenter on held-out training images; None without one.
        segmenter_steps: its training steps; None without one.
    """

    features: str
    features_digest: str
    width: int
    segmenter_dice: float | None = None
    segmenter_steps: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFile:
    """The document `evaluation.json`.

    Attributes:
        schema_version: of this document.
        run: name of the run, or None where two folders were compared.
        step: training steps of its weights.
        generated_from: folder of the generated images.
        real_from: the split, or the folder, of the real images.
        recipe: how the images were sampled.
        generated: number of generated images.
        real: number of real images.
        training: number of training images in the test for copies.
        slides: number of slides of the real images.
        width: of the images, pixels.
        height: of the images, pixels.
        jpeg_quality: of the compression of all images before the comparison.
        seed: the seed of subsets and bootstrap.
        classes: names of the classes.
        judge: features and segmenter.
        distances: the metrics by name; see `METRICS`.
        faithfulness: None if the generated images have no masks, or there is no segmenter.
        copies: the tests for copies; empty if there are no training images.
        downstream: scores of `--downstream`.
        warnings: sentences about what to be careful with.
    """

    schema_version: int = SCHEMA_VERSION
    run: str | None
    step: int | None
    generated_from: str
    real_from: str
    recipe: dict[str, Any]
    generated: int
    real: int
    training: int
    slides: int
    width: int
    height: int
    jpeg_quality: int
    seed: int
    classes: tuple[str, ...]
    judge: Judge
    distances: dict[str, Distance]
    faithfulness: Faithfulness | None
    copies: tuple[CopyTest, ...]
    downstream: tuple[DownstreamScore, ...] = ()
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write `evaluation.json` to a folder; its path."""
        path = folder / FILE
        write_json(path, asdict(self))
        return path

    @classmethod
    def read(cls, path: Path) -> EvaluationFile:
        """Read a file.

        Raises:
            HistodsError: it is damaged, or of another version.
        """
        return read_as(cls, path, what="an evaluation", advice="evaluate again")
