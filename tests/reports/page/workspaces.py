"""Small workspaces for the tests of the page, made without training: what a run writes is written by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from histods import audit, remap, shard, split
from tests.evaluations import make_evaluation, make_mask_evaluation
from tests.tunings import make_tuning

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
FORMULA = "=1+1.jpg"
MAPS = {
    "five": "name: five\nclasses: [Unknown, Skin, Tumour]\nmap: {Unknown: [0], Skin: [1, 2], Tumour: [3, 4]}\n",
    "ten": "name: ten\nclasses: [Unknown, Dermis, Epidermis, Carcinoma]\n"
    "map: {Unknown: [0, 4], Dermis: [1], Epidermis: [2], Carcinoma: [3]}\n",
}


@dataclass(frozen=True)
class Made:
    """A dataset, its workspace, and how many findings it has."""

    root: Path
    workspace: Path


def write_pair(path: Path, number: int, *, size: int = 64) -> None:
    """An image of noise, and a mask of up to four labels; of every sixth pair all labels are 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(number)
    coarse = random.integers(90, 250, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size)).save(path)
    mask = np.zeros((size, size), np.uint8)
    if number % 6:
        mask[: 8 + number, 10:40] = 1 + number % 4
        mask[50:, 50:] = 1 + (number + 1) % 4
    Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.png"))


def make_workspace(folder: Path) -> Made:
    """A dataset with hostile names and damage, audited, remapped twice, split, in shards, and with two runs."""
    made = Made(folder / "Données", folder / "out")
    for number in range(36):
        write_pair(made.root / f"slide_{number % 4}" / f"patch_{number:02d}.jpg", number)
    write_pair(made.root / "slide_0" / HOSTILE, 7)
    write_pair(made.root / "slide_1" / "日本\u202e.jpg", 8)
    (made.root / "slide_1" / "=cmd|calc_mask.png").write_bytes(b"")
    (made.root / "slide_0" / "patch_04.jpg").write_bytes(b"no image")
    (made.root / FORMULA).write_bytes(b"no image")
    (made.root / "slide_1" / "patch_05_mask.png").write_bytes(b"")
    Image.new("L", (32, 64), 1).save(made.root / "slide_2" / "patch_06_mask.png")
    Image.new("L", (64, 64), 3).save(made.root / "slide_3" / f"{HOSTILE[:-4]}_mask.png")
    labels = folder / "labels.yml"
    labels.write_text("0: Unknown\n1: Dermis\n2: Epidermis\n3: Carcinoma</script><b>\n", encoding="utf-8")
    audit(made.root, workspace=made.workspace, labels=labels, group_regex=r"^(slide_\d)", hash=True, workers=1)
    for name, text in MAPS.items():
        (folder / f"{name}.yml").write_text(text)
        remap(workspace=made.workspace, map=folder / f"{name}.yml")
    split(workspace=made.workspace, test=0.25)
    shard(workspace=made.workspace, map="ten", workers=1)
    for name, rate in (("first", 0.001), ("second", 0.002)):
        write_run(made.workspace / "runs" / name, rate)
    make_evaluation(run="second").write(made.workspace / "evaluations" / "second")
    make_mask_evaluation().write(made.workspace / "evaluations" / "of-masks")
    make_tuning(run="second", changed=False, better=0.8).write(made.workspace / "tunings" / "second")
    sheet = made.workspace / "samples" / "first-ema" / "overview"
    sheet.mkdir(parents=True)
    Image.new("RGB", (300, 200), (200, 220, 240)).save(sheet / "contact_sheet.png")
    (sheet / "samples.json").write_text(json.dumps({"recipe": {"sampler": "ddim", "steps": 10}}))
    return made


def write_run(folder: Path, rate: float, steps: int = 60) -> None:
    """The settings, metrics and previews of a run."""
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"run: {{steps: {steps}}}\noptimizer: {{lr: {rate}}}\n")
    lines: list[dict[str, Any]] = [
        {"kind": "train", "step": step, "loss": 1 / step + rate, "rate": rate} for step in range(1, steps + 1)
    ]
    lines += [
        {"kind": "validation", "step": step, "model": 0.5, "ema": 0.4, "ema_buckets": [0.1, 0.2, None, 0.4]}
        for step in (20, 40, 60)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tr')
    for step in (20, 40, 60):
        Image.new("RGB", (120, 60), (step, 100, 100)).save(folder / "samples" / f"step-{step:08d}.png")
