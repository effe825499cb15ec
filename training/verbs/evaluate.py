"""evaluate: say whether generated images are any good, follow their masks, and are no copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import make_folders, only_one
from histods.io.evaluation_file import FILE, EvaluationFile
from histods.io.workspace import Workspace, read_json
from histods.printing import printed
from histods.records import silent
from training.distributed import choose_device, describe
from training.evaluation.comparison import Comparison, check_sizes, choose_real, evenly, read_folders
from training.evaluation.evaluation import Settings, compare, load_encoder
from training.evaluation.features.own import OWN
from training.evaluation.image_sets import FolderImages
from training.evaluation.result_folder import check_place, claim
from training.inference.mask_inputs import MaskReader
from training.inference.output_folder import digest_of
from training.inference.pictures import write_png
from training.inference.tuned_sampling import TunedSampling
from training.runs.checkpoint import read_run
from training.verbs.sample import sample

if TYPE_CHECKING:
    from histods.records import Progress
    from training.evaluation.features.base import FeatureExtractor
    from training.evaluation.image_sets import ImageSet, ShardImages
    from training.inference.sampling import Sampler
    from training.runs.checkpoint import Run, Weights

COUNT = 2_000
"""Images to generate by default: the fewest for which the halves of the floor have the 1,000 images of a KID."""
SEGMENTER_STEPS = 1_000


@printed(hide=("document",))
@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateResult:
    """Where an evaluation is, and what it found.

    Attributes:
        folder: its folder.
        record: `evaluation.json`.
        pairs: picture of the most suspicious pairs of generated and training images; None if there are none.
        device: description of the device.
        document: all that was found.
    """

    folder: Path
    record: Path
    pairs: Path | None
    device: str
    document: EvaluationFile


def evaluate(
    *,
    run: str | Path = "default",
    images: str | Path | None = None,
    real: str | Path | None = None,
    train: str | Path | None = None,
    workspace: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    count: int | None = None,
    features: str = OWN,
    downstream: bool = False,
    out: str | Path | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    weights: Weights = "ema",
    segmenter_steps: int = SEGMENTER_STEPS,
    seed: int = 0,
    batch: int = 8,
    device: str | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Evaluate the images of a run, or those in a folder, beside real images of slides that were held out.

    For a run, images are sampled for the masks of a held-out split. Distances are given beside their floor, the
    same numbers between two halves of the real images. Unless an encoder is given, features are those of a
    segmenter that is trained on the real training images; it also says whether generated images show what their
    masks say. A killed evaluation goes on when called again.

    Args:
        run: a run's folder, one of its checkpoints, or its name among the workspace's runs.
        images: folder of generated images to evaluate instead of a run's.
        real: folder of real images to compare them with.
        train: folder of the real training images, with masks; by default those of the workspace's shards.
        workspace: folder of runs, shards and evaluations.
        data: folder of shards; by default those of the workspace.
        split: the held-out split; by default `test`, else `val`.
        count: number of images to generate; 2,000 by default.
        features: `own`; a folder or hub id of an encoder; or a file with the weights of FID's Inception network.
        downstream: also train segmenters on real, generated and both kinds of images and compare them.
        out: folder for the results; by default one in `evaluations` of the workspace.
        steps: sampling steps.
        guidance: guidance scale.
        sampler: `dpm`, `unipc` or `ddim`.
        weights: `ema` or `model`.
        segmenter_steps: training steps of each segmenter.
        seed: the seed of sampling, segmenters, subsets and bootstrap.
        batch: images at once.
        device: `cpu` or `cuda`; by default a GPU if there is one.
        progress: called with a stage, what is done of it, and all.

    Raises:
        HistodsError: there is no held-out split, too few images, an encoder of another kind, or a damaged file.
    """
    for name, number in (
        ("--count", COUNT if count is None else count),
        ("--batch", batch),
        ("--segmenter-steps", segmenter_steps),
    ):
        if number < 1:
            raise HistodsError(f"{name} is {number}; it must be at least 1: give another number.")
    space = Workspace.find(workspace)
    settings = Settings(
        home=space.evaluations,
        features=features,
        downstream=downstream,
        segmenter_steps=segmenter_steps,
        seed=seed,
        batch=batch,
        device=device,
        progress=progress or silent,
    )
    shards = space.shards if data is None else Path(data)
    if images is None:
        if real is not None or train is not None:
            raise HistodsError("--real and --train compare folders; name the generated images with --images.")
        order = _Order(
            space=space,
            run=read_run(run, space.runs),
            shards=shards,
            split=split,
            count=COUNT if count is None else count,
            sampling={"steps": steps, "guidance": guidance, "sampler": sampler, "weights": weights},
        )
        return _of_run(settings, order, None if out is None else Path(out))
    if real is None:
        raise HistodsError("--images compares folders; name the folder of real images with --real.")
    sampling = {"--split": split, "--count": count, "--steps": steps, "--guidance": guidance, "--sampler": sampler}
    if unused := [name for name, value in sampling.items() if value is not None]:
        raise HistodsError(
            f"--images names images that exist, and {' and '.join(unused)} are for a run: leave out one kind."
        )
    if data is not None and train is not None:
        raise HistodsError("--train and --data both name training images; give one of them.")
    return _of_folders(
        settings,
        space,
        Path(images),
        Path(real),
        None if train is None else Path(train),
        shards,
        None if out is None else Path(out),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """The images to sample; see `evaluate`."""

    space: Workspace
    run: Run
    shards: Path
    split: str | None
    count: int
    sampling: dict[str, Any]


def _of_run(settings: Settings, order: _Order, out: Path | None) -> EvaluateResult:
    run = order.run
    tuned = TunedSampling.read(run.folder, run.config.diffusion)
    chosen = choose_real(
        run,
        order.shards,
        order.split,
        order.count,
        latents=order.space.latents,
        option=order.space.option,
        tuned=tuned,
    )
    identity = [run.step, chosen.held_out.digest, order.sampling, *_identity(settings)]
    if tuned is not None:
        identity.append(tuned.defaults())
    name = f"{run.folder.name}-{run.checkpoint.name}-{digest_of(identity)[:8]}"
    folder = out or settings.home / name
    check_place(order.space, folder, ())
    check_sizes(chosen, run, run.load_autoencoder().factor, ("an evaluation", "evaluate"))
    encoder = load_encoder(settings)
    with only_one(folder, "evaluates"):
        claim(folder, identity)
        made = _sample(settings, order, chosen.held_out, folder / "held-out")
        recipe = read_json(made.folder / "overview" / "samples.json").get("recipe", {})
        comparison = Comparison(
            real=chosen.held_out,
            generated=made,
            training=chosen.training,
            classes=chosen.classes,
            paired=True,
            run=run.folder.name,
            step=run.step,
            real_from=f"the split {chosen.split}",
            generated_from=str(made.folder),
            recipe=recipe if isinstance(recipe, dict) else {},
            warnings=chosen.warnings,
        )
        synthetic: ImageSet | None = None
        if settings.downstream:
            training = chosen.training
            few = training.select(evenly(np.arange(len(training)), order.count))
            synthetic = _sample(settings, order, few, folder / "training")
        return _finish(settings, comparison, synthetic, encoder, folder)


def _sample(settings: Settings, order: _Order, real: ShardImages, folder: Path) -> FolderImages:
    """Generate an image for the mask of each real image, in the same order."""
    masks = folder / "masks"
    names = [f"{index:08d}" for index in real.samples.tolist()]
    make_folders(masks)
    for index, name in enumerate(names):
        settings.progress("writing masks", index, len(names))
        path = masks / f"{name}.png"
        if not path.is_file():
            write_png(path, real.whole_mask(index))
    result = sample(
        run=order.run.checkpoint,
        masks=masks,
        workspace=order.space.folder,
        out=folder / "images",
        seed=settings.seed,
        batch=settings.batch,
        device=settings.device,
        progress=settings.progress,
        **order.sampling,
    )
    made = FolderImages(result.folder, MaskReader(len(order.run.classes), 1))
    if made.keys != names:
        raise HistodsError(f"{result.folder} has other images than those that were sampled; remove the folder.")
    made.groups = list(real.groups)
    return made


def _of_folders(
    settings: Settings,
    space: Workspace,
    images: Path,
    real: Path,
    train: Path | None,
    shards: Path,
    out: Path | None,
) -> EvaluateResult:
    sets = read_folders(images, real, train, shards)
    digests = [one.digest if one is not None else "" for one in (sets.generated, sets.real, sets.training)]
    identity = [*digests, *_identity(settings)]
    folder = out or settings.home / f"{images.resolve().name}-{digest_of(identity)[:8]}"
    comparison = Comparison(
        real=sets.real,
        generated=sets.generated,
        training=sets.training,
        classes=sets.classes,
        paired=False,
        run=None,
        step=None,
        real_from=str(real),
        generated_from=str(images),
        warnings=sets.warnings,
    )
    check_place(space, folder, [one for one in (images, real, train) if one is not None])
    encoder = load_encoder(settings)
    with only_one(folder, "evaluates"):
        claim(folder, identity)
        return _finish(settings, comparison, sets.generated if sets.generated.masked else None, encoder, folder)


def _finish(
    settings: Settings,
    sets: Comparison,
    synthetic: ImageSet | None,
    encoder: FeatureExtractor | None,
    folder: Path,
) -> EvaluateResult:
    document, pairs = compare(settings, sets, synthetic, encoder, folder)
    where = describe(choose_device(settings.device))
    return EvaluateResult(folder=folder, record=folder / FILE, pairs=pairs, device=where, document=document)


def _identity(settings: Settings) -> list[str | int]:
    """The settings that change what is found."""
    return [settings.features, settings.seed, settings.segmenter_steps, settings.downstream]
