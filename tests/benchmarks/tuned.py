"""Whether the setting that `histods tune` finds on the demo is better on slides that it did not see.

Run `python -m tests.benchmarks.tuned FOLDER`. It makes the demo, tunes its run on the validation split, and makes
images with the untuned and the tuned setting for the masks of the test split and of other generated datasets,
from the same noise, with as many passes through the network. A segmenter of another seed judges them, so that
nothing is measured with what was tuned on. Draws take whole slides, the same for both.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import histods
from histods.demo_pipeline import MAPS, PAIRS, SIDE, demo
from histods.shards.images.reader import ShardReader
from histods.synthetic import make_demo
from training.distributed import choose_device
from training.evaluation.comparison import choose_real
from training.evaluation.image_sets import ShardImages
from training.evaluation.segmenter.fit import fit_segmenter
from training.evaluation.tuning.choice import share_better
from training.evaluation.tuning.trials import Studio, look_at_real
from training.inference.pipeline import SamplingPipeline
from training.inference.sampling import Sampling
from training.inference.tuned_sampling import TunedSampling
from training.runs.checkpoint import read_run
from training.verbs.evaluate import SEGMENTER_STEPS
from training.verbs.sample import load_network
from training.verbs.tune import tune

if TYPE_CHECKING:
    from training.evaluation.segmenter.segmenter import Segmenter
    from training.runs.checkpoint import Run

JUDGE = 1  # seed of the segmenter; that of `tune` has seed 0
BATCH = 8
NOISES = 2


def others(folder: Path, seed: int) -> ShardImages:
    """Pairs of another generated dataset, with the classes of the demo."""
    workspace = folder / f"seed-{seed}-out"
    if not (workspace / "shards").is_dir():
        made = make_demo(folder / f"seed-{seed}", seed=seed, pairs=PAIRS, size=SIDE)
        histods.audit(made.root, workspace=workspace, labels=made.labels_file, group_regex=made.group_regex)
        histods.remap(workspace=workspace, map=MAPS[0])
        histods.split(workspace=workspace, test=0.5)
        histods.shard(workspace=workspace, map=MAPS[0])
    reader = ShardReader(workspace / "shards", ("test", "train"))
    return ShardImages(reader, np.unique(reader.lists.samples[reader.lists.bounds[1] :]).astype(np.int64))


def pipeline_of(run: Run, sampling: Sampling, ema_length: float | None) -> SamplingPipeline:
    """What makes the images of a setting."""
    device = choose_device(None)
    autoencoder = run.load_autoencoder(device)
    return SamplingPipeline(
        model=load_network(run, "ema", device, ema_length),
        autoencoder=autoencoder,
        schedule=run.schedule.to(device),
        space=run.space,
        prediction=run.config.diffusion.prediction,
        sampling=sampling,
        device=device,
        half=False,
        window=run.config.model.image_size // autoencoder.factor,
        batch=BATCH,
    )


def _ready(pipeline: SamplingPipeline) -> SamplingPipeline:
    """A pipeline that is made already, where a way of making it is asked for."""
    return pipeline


def compare(name: str, run: Run, tuned: TunedSampling, real: ShardImages, judge: Segmenter, folder: Path) -> None:
    """Print the scores of both settings on some masks."""
    before = Sampling.of(run.config.diffusion)
    after = Sampling.of(run.config.diffusion, **tuned.defaults(without={"ema_length"}))
    pipelines = [pipeline_of(run, before, None), pipeline_of(run, after, tuned.ema_length)]
    truth = look_at_real(real, judge, BATCH, lambda _: None)
    for noise in range(NOISES):
        studio = Studio(real=real, segmenter=judge, folder=folder, seed=100 + noise, batch=BATCH)
        looks = [
            studio.look(f"{name}-{noise}-{place}", partial(_ready, pipeline), 0, len(real), lambda _: None)
            for place, pipeline in enumerate(pipelines)
        ]
        scores = [look.score(truth.features_ND) for look in looks]
        share = share_better(looks[1], looks[0], truth, real.groups, seed=0)
        print(
            f"{name}, noise {noise}: {len(real)} masks of {len(set(real.groups))} slides; FD-own "
            f"{scores[0].frechet:.3f} untuned, {scores[1].frechet:.3f} tuned; Dice {scores[0].dice:.3f} and "
            f"{scores[1].dice:.3f}; better in {share:.1%} of the draws",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2, help="Other datasets, of 24 slides each.")
    options = parser.parse_args()
    folder = options.folder
    workspace = demo(folder / "demo").workspace
    found = tune(run="demo", workspace=workspace)
    print(f"tuned: {found.document.trials[found.document.best].text}; kept: {found.document.changed}", flush=True)
    run = read_run("demo", workspace / "runs")
    tuned = TunedSampling.read(run.folder, run.config.diffusion)
    if tuned is None:
        return
    chosen = choose_real(
        run, workspace / "shards", "test", None, latents=workspace / "latents", option="", tuned=tuned
    )
    judge = fit_segmenter(
        chosen.training,
        classes=chosen.classes,
        folder=folder / "judge",
        steps=SEGMENTER_STEPS,
        seed=JUDGE,
        groups=chosen.training.groups,
    )
    looks = folder / "looks"
    compare("test", run, tuned, chosen.held_out, judge, looks)
    for seed in range(1, options.seeds + 1):
        compare(f"seed-{seed}", run, tuned, others(folder, seed), judge, looks)


if __name__ == "__main__":
    main()
