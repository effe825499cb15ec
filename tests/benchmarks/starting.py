"""How much sooner a run is as good where it starts from the weights of another.

Run `python -m tests.benchmarks.starting OUT`. A base is trained on one generated dataset, classes by a map of
five; then, on another dataset (other tissue and slides, 120 pairs) and a map of ten classes, one run begins with
random weights and one with those of the base. Both are validated every 20 steps on the same samples, levels and
noise. The average of a short run still holds its beginning, so that the raw weights are compared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import histods
from histods.synthetic import make_demo
from training.runs.metrics import read_metrics
from training.verbs.encode import encode
from training.verbs.train import train

NETWORK = ("model.dim=16", "model.dim_mults=[1,2,4]", "model.spatial=true", "data.batch_size=8")
OFTEN = ("run.preview_every=0", "run.validation_samples=100", "run.checkpoint_every=1000", "optimizer.lr=1e-3")


def make_workspace(
    folder: Path, name: str, *, seed: int, pairs: int, label_map: str, vae: str | Path = "linear"
) -> Path:
    """A dataset, audited, split by slides, with latents."""
    made = make_demo(folder / name, seed=seed, pairs=pairs, size=128)
    workspace = folder / f"{name}-out"
    histods.audit(folder / name, workspace=workspace, group_regex=made.group_regex, hash=True)
    histods.remap(workspace=workspace, map=label_map)
    histods.split(workspace=workspace, test=0.2, val=0.2)
    histods.shard(workspace=workspace, map=label_map)
    encode(workspace=workspace, vae=vae, device="cpu")
    return workspace


def losses(run: Path) -> list[tuple[int, float]]:
    """Validation losses of the raw weights, (step, loss)."""
    return [(line["step"], line["model"]) for line in read_metrics(run) if line["kind"] == "validation"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    before = make_workspace(options.out, "before", seed=0, pairs=300, label_map="label_map_5.yml")
    vae = before / "latents" / "autoencoder"  # weights know the latents of one autoencoder alone
    after = make_workspace(options.out, "after", seed=1, pairs=120, label_map="label_map_10.yml", vae=vae)
    base = train(
        workspace=before,
        settings=[*NETWORK, *OFTEN, f"run.steps={options.base_steps}", "run.validate_every=1000"],
        device="cpu",
    )
    found = []
    for seed in range(options.seeds):
        settings = [*NETWORK, *OFTEN, f"run.steps={options.steps}", "run.validate_every=20", f"run.seed={seed}"]
        fresh = losses(train(workspace=after, settings=settings, name=f"fresh-{seed}", device="cpu").folder)
        started = losses(
            train(
                workspace=after, settings=settings, name=f"started-{seed}", init=base.folder, device="cpu"
            ).folder
        )
        best_step, best = min(fresh, key=lambda entry: entry[1])
        reached = next((step for step, loss in started if loss <= best), None)
        entry = {"seed": seed, "fresh": fresh, "started": started}
        found.append(entry)
        print(
            f"seed {seed}: fresh is best at step {best_step} ({best:.3f}); started from the base it is as good at "
            f"step {reached}, and at best {min(loss for _, loss in started):.3f}",
            flush=True,
        )
        (options.out / "starting.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
