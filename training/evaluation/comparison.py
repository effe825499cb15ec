"""What is compared: generated images, real ones of held-out slides, and the training images.

They come from a run, for which images are sampled, or from folders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import HistodsError
from histods.printing import counted
from histods.shards.images.reader import ShardReader
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LatentSet
from training.evaluation.image_sets import FolderImages, ShardImages, propose_expression
from training.inference.mask_inputs import MaskReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.evaluation.image_sets import ImageSet
    from training.inference.tuned_sampling import TunedSampling
    from training.runs.checkpoint import Run

MAX_TRAINING = 20_000
"""Training images that generated ones are compared with, at most; of more, a selection by a fixed seed."""
HELD_OUT = ("test", "val")
"""Splits to evaluate on, in this order."""
_ANY_CLASS, _NO_CLASS = 256, "a mask in a folder holds classes: apply the label map first"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The sets to compare.

    Attributes:
        real: real images of held-out slides.
        generated: generated images.
        training: training images; None if unknown.
        classes: names of the classes.
        paired: whether the generated image of each number is for the mask of the real one of that number.
        run: name of the run; None for folders.
        step: training steps of its weights.
        real_from: the split or folder of the real images.
        generated_from: folder of the generated images.
        recipe: how they were sampled.
        warnings: sentences about what to be careful with.
    """

    real: ImageSet
    generated: ImageSet
    training: ImageSet | None
    classes: tuple[str, ...]
    paired: bool
    run: str | None
    step: int | None
    real_from: str
    generated_from: str
    recipe: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RealImages:
    """Held-out and training images of shards.

    Attributes:
        held_out: real images, the masks of which images are generated for.
        training: training images with masks.
        split: the split of `held_out`.
        classes: names of the classes.
        warnings: sentences about what to be careful with.
    """

    held_out: ShardImages
    training: ShardImages
    split: str
    classes: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_real(
    run: Run,
    folder: Path,
    split: str | None,
    count: int | None,
    *,
    latents: Path,
    option: str,
    order: tuple[str, ...] = HELD_OUT,
    tuned: TunedSampling | None = None,
) -> RealImages:
    """Choose held-out samples to generate images for, and the training samples of a run.

    Samples whose mask has a class besides class 0 are chosen; all samples if there are none.

    Args:
        run: the run.
        folder: the folder of its shards.
        split: the split; by default the first of `order` that is held out.
        count: number of samples; fewer if the split has fewer, and None for all.
        latents: folder of the latents of these shards, if there are any.
        option: the option that names the workspace in commands.
        order: splits to choose from.
        tuned: what was found by tuning, on slides that are left out if there are others.

    Raises:
        HistodsError: there is no held-out split, or the shards have other classes than the run.
    """
    if not (folder / ShardSet.FILE).is_file():
        raise HistodsError(
            f"There are no shards in {folder}, with real images; run 'histods shard{option}' first, "
            "or compare two folders with --images and --real."
        )
    shards = ShardSet.read(folder)
    known_map = bool(run.state.map_digest)  # else it was imported, and names of classes are not known
    if shards.classes != run.classes and (known_map or len(shards.classes) != len(run.classes)):
        raise HistodsError(
            f"The shards in {folder} have other classes than {run.folder} was trained with; give the shards that "
            "it was trained on with --data."
        )
    known = shards.splits
    trained = run.config.data.splits or (("train",) if "train" in known else tuple(sorted(known)))
    chosen = split or next((name for name in order if name in known and name not in trained), None)
    if chosen is None:
        raise HistodsError(
            f"{folder} has no split that was held out of training (only {', '.join(sorted(known))}): run "
            f"'histods split{option}' and 'histods shard{option}', and train again."
        )
    if chosen not in known:
        raise HistodsError(f"{folder} has no split {chosen!r}; choose one of {', '.join(sorted(known))}.")
    warnings = []
    if not _trained_on(run, shards, latents):
        warnings.append(
            f"{run.folder.name} was not trained on the shards in {folder} as they are now: it may have seen "
            f"images of the split {chosen}, and then copies and faithfulness look better than they are"
        )
    if chosen in trained:
        warnings.append(
            f"The run was trained on the split {chosen}: what is said here about copies and faithfulness does not "
            "hold for images that it has not seen"
        )
    reduce = run.config.data.reduce
    reader = ShardReader(folder, (chosen,))
    samples = _with_classes(reader)
    if tuned is not None and tuned.split == chosen:
        samples, said = _without_slides(ShardImages(reader, samples), tuned.slides)
        warnings.append(said)
    if count is not None and len(samples) < count:
        warnings.append(f"The split {chosen} has only {counted(len(samples), 'image')} to generate others for")
    training_reader = ShardReader(folder, trained)
    training = ShardImages(training_reader, _with_classes(training_reader), reduce)
    held_out = ShardImages(reader, samples if count is None else evenly(samples, count), reduce)
    return RealImages(
        held_out=held_out, training=training, split=chosen, classes=shards.classes, warnings=tuple(warnings)
    )


def check_sizes(chosen: RealImages, run: Run, factor: int, doing: tuple[str, str]) -> None:
    """Refuse held-out images of several sizes, and sizes that the network of a run does not take.

    Args:
        chosen: the images.
        run: the run that makes others for their masks.
        factor: pixels per latent.
        doing: what that is for, for the messages: "tuning" and "tune".

    Raises:
        HistodsError: they differ in size, or a side is no multiple of what it must be.
    """
    held_out, config = chosen.held_out, run.config
    noun, verb = doing
    sizes = {held_out.whole_mask(number).shape[:2] for number in range(len(held_out))}
    if len(sizes) > 1:
        raise HistodsError(
            f"The images of the split {chosen.split} have {len(sizes)} sizes, and {noun} takes images of one; "
            "shard images of one size, and name their folder with --data."
        )
    reader = MaskReader(
        len(run.classes),
        factor * config.model.size_multiple,
        reduce=config.data.reduce,
        window=config.model.image_size,
        factor=factor,
    )
    for height, width in sizes:
        reader.check_sides(f"A mask of the split {chosen.split}", height, width, f"{verb} on others with --data")


def _trained_on(run: Run, shards: ShardSet, latents: Path) -> bool:
    """Whether a run was trained on these shards, or on their latents."""
    if run.state.index_digest == shards.index_digest:
        return True
    if not (latents / LatentSet.FILE).is_file():
        return False
    encoded = LatentSet.read(latents)
    return (encoded.index_digest, encoded.source_digest) == (run.state.index_digest, shards.index_digest)


def _without_slides(images: ShardImages, slides: Collection[str]) -> tuple[NDArray[np.int64], str]:
    """The samples of other slides, or all if there are no others; and a sentence about it."""
    others_N = np.array([group not in slides for group in images.groups], dtype=bool)
    if not others_N.any():
        return images.samples, "The way of sampling was tuned on the same images, which flatters it"
    left_out = "is left out" if len(slides) == 1 else "are left out"
    said = f"{counted(len(slides), 'slide')}, on which the way of sampling was tuned, {left_out}"
    return images.samples[others_N], said


def _with_classes(reader: ShardReader) -> NDArray[np.int64]:
    """The samples with a class besides class 0, ascending; all if there are none."""
    conditional = np.unique(reader.lists.samples[reader.lists.bounds[1] :]).astype(np.int64)
    return conditional if len(conditional) else np.arange(len(reader), dtype=np.int64)


def evenly(samples: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` samples, evenly spaced; all if there are no more."""
    if len(samples) <= count:
        return samples
    return samples[np.linspace(0, len(samples) - 1, count).round().astype(np.int64)]


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSets:
    """The generated, the real and the training images of folders.

    Attributes:
        generated: generated images.
        real: real images, as large.
        training: training images; None if unknown.
        classes: names of the classes of their masks.
        warnings: sentences about what to be careful with.
    """

    generated: FolderImages
    real: FolderImages
    training: ImageSet | None
    classes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_folders(images: Path, real: Path, training: Path | None, shards: Path) -> FolderSets:
    """The generated, the real and the training images of folders, and the classes of their masks.

    Real images that are a whole number of times as large as the generated ones are reduced to their size.

    Args:
        images: folder of generated images, with masks or without.
        real: folder of real images of slides that the model has not seen.
        training: folder of the images that the model was trained on.
        shards: folder of shards whose training split is used where `training` is None, if it exists.

    Raises:
        HistodsError: a folder has no images or is given twice, a file cannot be read, or sizes do not fit.
    """
    for option, other in (("--real", real), ("--train", training)):
        if other is not None and other.resolve() == images.resolve():
            raise HistodsError(f"--images and {option} are both {images}; give a folder of other images.")
    made = FolderImages(images, MaskReader(_ANY_CLASS, 1, advice=_NO_CLASS))
    held_out, factor = _at_size_of(made, real)
    seen: ImageSet | None = None
    classes: tuple[str, ...] = ()
    if training is not None:
        seen, _ = _at_size_of(made, training)
        classes = _count_classes(seen)
        together = propose_expression([*held_out.keys, *seen.keys])
        for one in (held_out, seen):
            if not one.grouped:  # of one slide, perhaps, whose name the others tell
                one.group_by(together)
    elif (shards / ShardSet.FILE).is_file():
        seen, classes = _of_shards(made, shards)
    if len(classes) > 1:
        advice = f"the masks of training images have classes up to {len(classes) - 1}: correct it, or remove it"
        made = made.reading(MaskReader(len(classes), 1, advice=advice))
        held_out = held_out.reading(MaskReader(len(classes), 1, reduce=factor, advice=advice))
    for one in (made, held_out):
        one.check()
    return FolderSets(
        generated=made,
        real=held_out,
        training=seen,
        classes=classes,
        warnings=(
            *_warn_of_masks((made, held_out, seen)),
            *_warn_of_names(held_out),
            *(_warn_of_gaps(seen) if isinstance(seen, FolderImages) else ()),
        ),
    )


def _warn_of_masks(sets: Sequence[ImageSet | None]) -> Iterator[str]:
    """Say which folders have masks for some of their images, and so count as without masks."""
    for one in sets:
        if isinstance(one, FolderImages) and not one.masked and any(file.mask for file in one.files):
            without = [file.image for file in one.files if file.mask is None]
            yield (
                f"{len(without):,} of the {len(one):,} images in {one.folder} have no mask, for example "
                f"{without[0].name}, so that none of the masks there is used"
            )


def _warn_of_names(real: FolderImages) -> Iterator[str]:
    """Say if no slides are known."""
    if not real.grouped and len(real) > 1:
        yield (
            f"The names in {real.folder} do not tell the slide of an image, so each counts as a slide of its own: "
            "if images share slides, intervals are too narrow and floors too low"
        )


def _of_shards(made: FolderImages, shards: Path) -> tuple[ShardImages, tuple[str, ...]]:
    """The training images of shards, as large as the generated ones, and their classes."""
    found = ShardSet.read(shards)
    splits = ("train",) if "train" in found.splits else tuple(sorted(found.splits))
    reader = ShardReader(shards, splits)
    samples = _with_classes(reader)
    factor = _factor(ShardImages(reader, samples[:1]).image(0), made.image(0), shards, made.folder)
    return ShardImages(reader, samples, factor), found.classes


def _count_classes(images: FolderImages) -> tuple[str, ...]:
    """Names of the classes of masks in a folder, which are known by their numbers only; none without masks."""
    if not images.masked:
        return ()
    return tuple(f"class {index}" for index in range(max(_present(images)) + 1))


def _present(images: FolderImages) -> set[int]:
    """The classes that masks of a folder have."""
    return {label for index in range(len(images)) for label in np.unique(images.mask(index)).tolist()}


def _warn_of_gaps(training: FolderImages) -> Iterator[str]:
    """Say if masks skip numbers of classes, as those do that write 255 where nothing is known."""
    present = _present(training) if training.masked else {0}
    most = max(present)
    if most + 1 > 2 * len(present):
        yield (
            f"The masks in {training.folder} have {len(present)} classes with numbers up to {most}: if {most} "
            "means that nothing is known of a pixel, write 0 there, or the segmenter learns it as a class"
        )


def _at_size_of(made: FolderImages, folder: Path) -> tuple[FolderImages, int]:
    """The images of a folder as large as the generated ones, and the factor by which they are reduced."""
    found = FolderImages(folder, MaskReader(_ANY_CLASS, 1, advice=_NO_CLASS))
    factor = _factor(found.image(0), made.image(0), folder, made.folder)
    if factor > 1:
        found = FolderImages(folder, MaskReader(_ANY_CLASS, 1, reduce=factor, advice=_NO_CLASS), factor)
    return found, factor


def _factor(real: NDArray[np.uint8], made: NDArray[np.uint8], real_folder: Path, made_folder: Path) -> int:
    """How many times as large real images are.

    Raises:
        HistodsError: it is no whole number, or differs between the sides.
    """
    (height, width), (rows, columns) = real.shape[:2], made.shape[:2]
    factor = int(height // rows)
    if factor < 1 or (rows * factor, columns * factor) != (height, width):
        raise HistodsError(
            f"The images in {real_folder} are {width}x{height} px and those in {made_folder} {columns}x{rows} px; "
            "give images of one size, or real ones a whole number of times as large."
        )
    return factor
