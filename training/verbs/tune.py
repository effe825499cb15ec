"""tune: find the way of sampling that suits a run, at a fixed number of passes through its network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from histods.errors import HistodsError
from histods.io.atomic import make_folders, only_one
from histods.io.tuning_file import FEWEST_SLIDES, SETTING, Trial, TrialScore, TuningFile
from histods.io.workspace import Workspace
from histods.printing import counted, printed
from histods.records import silent
from training.distributed import choose_device, describe
from training.evaluation.comparison import check_sizes, choose_real, evenly
from training.evaluation.distances import cut_in_halves
from training.evaluation.image_sets import JPEG_QUALITY
from training.evaluation.segmenter.fit import fit_segmenter
from training.evaluation.segmenter.network import WIDTH
from training.evaluation.tuning.candidates import LENGTHS, Candidate, Passes
from training.evaluation.tuning.choice import CERTAIN, Score, dice_of, share_better
from training.evaluation.tuning.search import search
from training.evaluation.tuning.trials import Studio, joined, look_at_real
from training.inference.output_folder import digest_of
from training.inference.pipeline import SamplingPipeline
from training.inference.sampling import Sampling
from training.inference.tuned_sampling import TunedSampling
from training.runs.checkpoint import read_run
from training.runs.post_hoc_ema import MAX_MISFIT, find_snapshots, plan_average
from training.verbs.evaluate import SEGMENTER_STEPS
from training.verbs.sample import load_network
from training.verbs.sample_order import average_of, origin_of

if TYPE_CHECKING:
    import torch

    from histods.records import Progress
    from training.evaluation.comparison import RealImages
    from training.evaluation.image_sets import ShardImages
    from training.evaluation.tuning.choice import Looks
    from training.evaluation.tuning.search import Found
    from training.model.unet import UNet
    from training.runs.checkpoint import Run

COUNT = 200
"""Masks to compare candidates on by default."""
TRIALS = 24
"""Candidates to try by default; more than there are without snapshots."""
FEWEST = 20
"""Images below which a comparison is mostly chance, and not made."""
SPLITS = ("val", "test")
_SEARCHED = 2 * WIDTH
"""Masks of the search: of fewer than twice the features, a Fréchet distance is mostly chance, and favours images
that vary less."""
_SHARE = 4  # the search takes one in so many masks, if that is more


@printed(hide=("document",))
@dataclass(frozen=True, kw_only=True, slots=True)
class TuneResult:
    """What was found, and where it is.

    Attributes:
        folder: the folder of the tuning.
        record: `tuning.json`.
        setting: `sampling.json` of the run, which `sample` reads; None if the run keeps the untuned setting.
        removed: that file, if an earlier tuning had written it and this one found nothing better; else None.
        device: description of the device.
        document: all that was found.
    """

    folder: Path
    record: Path
    setting: Path | None
    removed: Path | None
    device: str
    document: TuningFile


def tune(
    *,
    run: str | Path = "default",
    workspace: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    count: int = COUNT,
    forwards: int | None = None,
    trials: int = TRIALS,
    segmenter_steps: int = SEGMENTER_STEPS,
    seed: int = 0,
    batch: int = 8,
    device: str | None = None,
    progress: Progress | None = None,
) -> TuneResult:
    """Find guidance, sampler, steps and average of weights that suit a run, and make them its defaults.

    Each candidate makes images for the same held-out masks from the same noise, with as many steps as its passes
    through the network allow: a guided step takes two, another one. Of the candidates that follow their masks
    (a Dice coefficient within 0.02 of the best, or of that of real images if that is less), the one with the least
    Fréchet distance to the real images, by the features of a segmenter trained on real ones, is best. It becomes
    `sampling.json` of the run if it is better than the untuned setting in 97.5 % of bootstrap draws of slides,
    of which there are at least five; else that file is removed. A killed call goes on when called again.

    Args:
        run: a run's folder, one of its checkpoints, or its name among the workspace's runs.
        workspace: folder of runs, shards and tunings.
        data: folder of shards; by default those of the workspace.
        split: the held-out split; by default `val`, else half of the slides of `test`.
        count: number of masks; a quarter of them, at least 64, serve the search, and all the final comparison.
        forwards: most passes through the network per image; by default those of the untuned setting.
        trials: most candidates.
        segmenter_steps: training steps of the segmenter.
        seed: the seed of sampling, segmenter, halves and draws.
        batch: images at once.
        device: `cpu` or `cuda`; by default a GPU if there is one.
        progress: called with a stage, what is done of it, and all.

    Raises:
        HistodsError: there is no held-out split, too few images, a run of masks, or a damaged file.
    """
    numbers = {"--count": (count, FEWEST), "--batch": (batch, 1), "--trials": (trials, 2)}
    for name, (number, least) in {**numbers, "--segmenter-steps": (segmenter_steps, 1)}.items():
        if number < least:
            raise HistodsError(f"{name} is {number}; it must be at least {least}: give another number.")
    space = Workspace.find(workspace)
    read = read_run(run, space.runs)
    read.expect("images", "--run")
    shards = space.shards if data is None else Path(data)
    chosen, warnings = _choose(read, space, shards, split, count, seed)
    tuning = _Tuning(
        run=read,
        chosen=chosen,
        home=space.tunings,
        segmenters=space.evaluations / "segmenters",
        forwards=forwards,
        trials=trials,
        segmenter_steps=segmenter_steps,
        seed=seed,
        batch=batch,
        device=choose_device(device),
        progress=progress or silent,
        warnings=(*chosen.warnings, *warnings),
    )
    return tuning.carry_out()


def _choose(
    run: Run, space: Workspace, shards: Path, split: str | None, count: int, seed: int
) -> tuple[RealImages, list[str]]:
    """The real images to tune on, those of the search first, and what to be careful with.

    Raises:
        HistodsError: there are too few, or they differ in size.
    """
    chosen = choose_real(run, shards, split, None, latents=space.latents, option=space.option, order=SPLITS)
    warnings = []
    real = chosen.held_out
    if split is None and chosen.split != SPLITS[0]:
        half_N = cut_in_halves(real.groups, seed)
        if half_N is None:
            warnings.append(f"The split {chosen.split} has only one slide, so none is left to evaluate on")
        else:
            real = real.select(np.flatnonzero(half_N == 0))
    if len(real) < FEWEST:
        half = "" if len(real) == len(chosen.held_out) else "half of "
        enough = len(chosen.held_out) >= FEWEST
        whole = f", or tune on all of them with --split {chosen.split}" if half and enough else ""
        raise HistodsError(
            f"Tuning takes at least {FEWEST} images, and {half}the split {chosen.split} has {len(real)}: "
            f"run 'histods split{space.option}' with a larger share for validation{whole}."
        )
    if (slides := len(set(real.groups))) < FEWEST_SLIDES:
        warnings.append(
            f"{counted(slides, 'slide')} cannot tell whether other slides would give the same, so the run keeps "
            f"the untuned setting whatever is found; tune on at least {FEWEST_SLIDES} slides"
        )
    few = _few(min(count, len(real)))
    picked = evenly(np.arange(len(real)), count)
    first = evenly(np.arange(len(picked)), few)
    rest = np.setdiff1d(np.arange(len(picked)), first)
    return replace(chosen, held_out=real.select(picked[np.concatenate([first, rest])])), warnings


def _few(images: int) -> int:
    """The number of images of the search."""
    return min(images, max(_SEARCHED, images // _SHARE))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tuning:
    """One call of `tune`."""

    run: Run
    chosen: RealImages
    home: Path
    segmenters: Path
    forwards: int | None
    trials: int
    segmenter_steps: int
    seed: int
    batch: int
    device: torch.device
    progress: Progress
    warnings: tuple[str, ...]

    @property
    def real(self) -> ShardImages:
        return self.chosen.held_out

    def carry_out(self) -> TuneResult:
        run = self.run
        passes = Passes(schedule=run.schedule, prediction=run.config.diffusion.prediction, clip=run.space.clip)
        today = Candidate(sampling=Sampling.of(run.config.diffusion))
        if self.forwards is not None:
            today = replace(today, sampling=passes.fill(today.sampling, self.forwards))
        most = passes.of(today.sampling) if self.forwards is None else self.forwards
        identity = [
            origin_of(run, "ema"),
            self.real.digest,
            most,
            self.trials,
            self.segmenter_steps,
            self.seed,
        ]
        folder = self.home / f"{run.folder.name}-{run.checkpoint.name}-{digest_of(identity)[:8]}"
        make_folders(folder)
        with only_one(folder, "tunes"):
            judge = _Judge(self)
            found = search(
                today,
                lengths=self._lengths(),
                fill=lambda one: replace(one, sampling=passes.fill(one.sampling, most)),
                score_few=judge.score_few,
                score_all=judge.score_all,
                real_dice=judge.real_dice,
                trials=self.trials,
            )
            document = self._document(found, judge, passes, most, today)
            record = document.write(folder)
            own = run.folder / SETTING
            was_tuned = own.exists()
            setting = self._keep(found.best, document, folder.name)
        return TuneResult(
            folder=folder,
            record=record,
            setting=setting,
            removed=own if was_tuned and setting is None else None,
            device=describe(self.device),
            document=document,
        )

    def _lengths(self) -> list[float]:
        """Averages of weights, besides the run's own, that its snapshots can make; none without snapshots."""
        if not find_snapshots(self.run.folder):
            return []
        at = self.run.checkpoint, self.run.step
        own = self.run.config.ema
        return [
            length
            for length in LENGTHS
            if (own.kind, own.sigma_rel) != ("power", length) and plan_average(*at, length).error <= MAX_MISFIT
        ]

    def _document(self, found: Found, judge: _Judge, passes: Passes, most: int, today: Candidate) -> TuningFile:
        slides, better = len(set(self.real.groups)), None
        if found.best != today:
            drawn = self.real.groups if slides >= FEWEST_SLIDES else self.real.keys
            better = share_better(judge.looks(found.best), judge.looks(today), judge.real, drawn, seed=self.seed)
        width = judge.real.features_ND.shape[1]
        few = (
            f"{judge.few} images are too few for a Fréchet distance of {width} features; tune on more with --count"
        )
        return TuningFile(
            run=self.run.folder.name,
            step=self.run.step,
            split=self.chosen.split,
            slides=slides,
            images=len(self.real),
            search_images=judge.few,
            forwards=most,
            seed=self.seed,
            segmenter_steps=self.segmenter_steps,
            real_dice=judge.real_dice,
            trials=tuple(
                _trial(one, passes.of(one.sampling), score, found.final.get(one))
                for one, score in found.search.items()
            ),
            best=list(found.search).index(found.best),
            better=better,
            changed=better is not None and better >= CERTAIN and slides >= FEWEST_SLIDES,
            warnings=(*self.warnings, *([few] if judge.few <= width else [])),
        )

    def _keep(self, best: Candidate, document: TuningFile, name: str) -> Path | None:
        """Make the best candidate the default of the run, or leave it without a setting of its own."""
        if not document.changed:
            (self.run.folder / SETTING).unlink(missing_ok=True)
            return None
        how = best.sampling
        return TunedSampling(
            step=self.run.step,
            sampler=how.sampler,
            steps=how.steps,
            guidance=how.guidance,
            guidance_interval=how.guidance_interval,
            levels=how.levels,
            ema_length=best.ema_length,
            split=self.chosen.split,
            slides=tuple(sorted(set(self.real.groups))),
            tuning=name,
        ).write(self.run.folder)


class _Judge:
    """Scores candidates by what the segmenter sees in their images."""

    def __init__(self, tuning: _Tuning) -> None:
        self._tuning = tuning
        run, device, training = tuning.run, tuning.device, tuning.chosen.training
        self._autoencoder = run.load_autoencoder(device)
        check_sizes(tuning.chosen, run, self._autoencoder.factor, ("tuning", "tune"))
        self._half = device.type == "cuda" and run.config.run.precision == "bf16"
        self._segmenter = fit_segmenter(
            training,
            classes=tuning.chosen.classes,
            folder=tuning.segmenters,
            steps=tuning.segmenter_steps,
            seed=tuning.seed,
            groups=training.groups,
            device=device,
            progress=tuning.progress,
        )
        self._studio = Studio(
            real=tuning.real,
            segmenter=self._segmenter,
            folder=tuning.home / "trials",
            seed=tuning.seed,
            batch=tuning.batch,
        )
        self.few = _few(len(tuning.real))
        self.real = look_at_real(
            tuning.real,
            self._segmenter,
            tuning.batch,
            lambda done: tuning.progress("segmenting real images", done, len(tuning.real)),
        )
        self.real_dice = dice_of(self.real.confusion_NCC.sum(axis=0))
        self._looks: dict[Candidate, Looks] = {}
        self._network: tuple[float | None, UNet] | None = None
        self._finals = 0

    def score_few(self, candidate: Candidate) -> Score:
        """The score on the masks of the search."""
        before, few = len(self._looks) * self.few, self.few
        total = self._tuning.trials * few
        self._looks[candidate] = self._look(
            candidate, 0, few, lambda done: self._tuning.progress("searching, in images", before + done, total)
        )
        return self._looks[candidate].score(self.real.features_ND)

    def score_all(self, candidate: Candidate) -> Score:
        """The score on all masks, after that on the first."""
        images = len(self._tuning.real)
        if images > self.few:
            said = f"final comparison {self._finals + 1}, in images"
            rest = self._look(
                candidate,
                self.few,
                images,
                lambda done: self._tuning.progress(said, done, images - self.few),
            )
            self._looks[candidate] = joined(self._looks[candidate], rest)
        self._finals += 1
        return self._looks[candidate].score(self.real.features_ND)

    def looks(self, candidate: Candidate) -> Looks:
        """What was seen in its images."""
        return self._looks[candidate]

    def _look(self, candidate: Candidate, first: int, last: int, progress: Any) -> Looks:
        tuning, length = self._tuning, candidate.ema_length
        average = (
            {}
            if length is None
            else average_of(plan_average(tuning.run.checkpoint, tuning.run.step, length), length)
        )
        identity = [
            {**origin_of(tuning.run, "ema"), **average},
            self._autoencoder.digest,
            candidate.sampling.recipe(),
            "bf16" if self._half else "fp32",
            self._segmenter.digest,
            tuning.real.digest,
            JPEG_QUALITY,
            tuning.seed,
        ]
        return self._studio.look(
            digest_of(identity)[:32], lambda: self._pipeline(candidate), first, last, progress
        )

    def _pipeline(self, candidate: Candidate) -> SamplingPipeline:
        run, device = self._tuning.run, self._tuning.device
        if self._network is None or self._network[0] != candidate.ema_length:
            self._network = candidate.ema_length, load_network(run, "ema", device, candidate.ema_length)
        return SamplingPipeline(
            model=self._network[1],
            autoencoder=self._autoencoder,
            schedule=run.schedule.to(device),
            space=run.space,
            prediction=run.config.diffusion.prediction,
            sampling=candidate.sampling,
            device=device,
            half=self._half,
            window=run.config.model.image_size // self._autoencoder.factor,
            batch=self._tuning.batch,
        )


def _trial(candidate: Candidate, forwards: int, few: Score, final: Score | None) -> Trial:
    how = candidate.sampling
    return Trial(
        sampler=how.sampler,
        levels=how.levels,
        steps=how.steps,
        guidance=how.guidance,
        guidance_interval=how.guidance_interval,
        ema_length=candidate.ema_length,
        forwards=forwards,
        search=TrialScore(frechet=few.frechet, dice=few.dice),
        final=None if final is None else TrialScore(frechet=final.frechet, dice=final.dice),
    )
