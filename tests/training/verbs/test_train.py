"""Runs: exact after any end, the same for any number of processes, and nothing lost when something goes wrong."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import training.data.source
from histods import shard
from histods.errors import HistodsError
from tests.training.trained_runs import (
    ENVIRONMENT,
    ROOT,
    TINY,
    command,
    run_tiny,
    start,
    start_together,
    wait_until,
    weights,
)
from tests.watchdog import finish
from training.runs.checkpoint import load_model, newest, read_run, read_state
from training.runs.metrics import read_metrics
from training.runs.run_folder import preview_path
from training.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Site
    from training.data.dataset import Batch
    from training.data.source import Encoder


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run) if line["kind"] == "train"]


def test_a_longer_run_and_one_that_goes_on_end_in_the_same_bits(folder: Path, tmp_path: Path) -> None:
    whole = run_tiny(tmp_path / "a", folder, "run.steps=8")
    run_tiny(tmp_path / "b", folder, "run.steps=4")
    longer = run_tiny(tmp_path / "b", folder, "run.steps=8", "data.workers=2", resume=True)
    assert (longer.began, longer.step, longer.finished) == (4, 8, True)
    assert weights(whole.folder, 8) == weights(longer.folder, 8)
    assert losses(whole.folder) == losses(longer.folder)
    assert len(losses(whole.folder)) == 8


@pytest.mark.parametrize(
    "settings", [("diffusion.prediction=flow",), ("diffusion.levels=logit_normal",)], ids=["flow", "logit-normal"]
)
def test_levels_that_are_not_uniform_are_drawn_again_after_a_restart(
    folder: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    whole = run_tiny(tmp_path / "a", folder, *settings, "run.steps=6", "run.validate_every=6")
    run_tiny(tmp_path / "b", folder, *settings, "run.steps=4", "run.validate_every=6")
    longer = run_tiny(tmp_path / "b", folder, *settings, "run.steps=6", "run.validate_every=6", resume=True)
    assert (longer.began, longer.step) == (4, 6)
    assert weights(whole.folder, 6) == weights(longer.folder, 6)
    assert losses(whole.folder) == losses(longer.folder)
    plain = run_tiny(tmp_path / "c", folder, "run.steps=6")
    assert losses(plain.folder) != losses(whole.folder)


def test_flow_alone_chooses_its_schedule_its_levels_and_no_weights(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "diffusion.prediction=flow", "run.steps=2").folder
    text = (run / "config.yaml").read_text()
    for line in ("schedule: rectified_flow", "levels: logit_normal", "min_snr_gamma: null"):
        assert line in text
    with pytest.raises(HistodsError, match="with other settings, which give them another meaning: diffusion.pred"):
        run_tiny(tmp_path, folder, "run.steps=2")
    with pytest.raises(HistodsError, match="is epsilon; it must be flow, v or x0 with schedule rectified_flow"):
        run_tiny(
            tmp_path, folder, "diffusion.schedule=rectified_flow", "diffusion.prediction=epsilon", name="other"
        )


def test_one_cycle_after_a_kill_ends_in_the_same_bits(folder: Path, tmp_path: Path) -> None:
    settings = ("run.steps=12", "optimizer.schedule=onecycle", "ema.kind=exponential", "data.replacement=false")
    whole = run_tiny(tmp_path / "a", folder, *settings)
    process = start(command(tmp_path / "b", folder, *settings), halt_after=7)
    run = tmp_path / "b" / "runs" / "default"
    wait_until((run / "checkpoints" / "step-00000004").exists, process)
    process.kill()
    finish(process)
    again = run_tiny(tmp_path / "b", folder, *settings)
    assert again.began == 4
    assert weights(whole.folder, 12) == weights(again.folder, 12)
    assert losses(whole.folder) == losses(again.folder)


def test_sigterm_leaves_a_checkpoint_from_which_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    settings = ("run.steps=24", "run.checkpoint_every=1000")
    process = start(command(tmp_path / "b", folder, *settings), halt_after=7)
    run = tmp_path / "b" / "runs" / "default"
    wait_until(lambda: losses(run), process)
    process.send_signal(signal.SIGTERM)
    message = finish(process).splitlines()[-1]
    assert process.returncode == 143
    assert message == "terminated; run the same command again to continue"
    step = read_run(run).step
    assert 0 < step < 24
    again = run_tiny(tmp_path / "b", folder, *settings)
    assert again.began == step
    whole = run_tiny(tmp_path / "a", folder, *settings)
    assert weights(whole.folder, 24) == weights(again.folder, 24)


def test_two_machines_give_the_losses_and_the_previews_of_one(folder: Path, tmp_path: Path) -> None:
    """Two processes find each other by what the launchers of two machines tell them."""
    shared = ("run.validate_every=3", "run.preview_every=6", "run.preview_samples=3", "run.preview_steps=3")
    settings = ("run.steps=6", "model.dropout=0.0", *shared)
    one = run_tiny(tmp_path / "one", folder, *settings)
    words = command(tmp_path / "two", folder, *settings)
    started = start_together(words, words)
    errors = [finish(process) for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    two = tmp_path / "two" / "runs" / "default"
    assert losses(two) == pytest.approx(losses(one.folder), abs=1e-5)
    assert read_state(newest(two) or two).position == 24
    ours, theirs = (
        [(line["step"], line["model"], line["ema"]) for line in read_metrics(run) if line["kind"] == "validation"]
        for run in (one.folder, two)
    )
    assert [step for step, *_ in ours] == [3, 6]
    assert np.array(theirs) == pytest.approx(np.array(ours), abs=1e-5)
    pictures = [np.asarray(Image.open(preview_path(run, 6))).astype(int) for run in (one.folder, two)]
    assert abs(pictures[0] - pictures[1]).max() <= 1  # of 255: batches of other sizes round otherwise


@pytest.mark.slow
def test_two_processes_stop_soon_after_sigterm_and_go_on(folder: Path, tmp_path: Path) -> None:
    settings = ("run.steps=5000", "run.checkpoint_every=2000", "run.log_every=10")
    process = start(command(tmp_path, folder, *settings, processes=2))
    run = tmp_path / "runs" / "default"
    wait_until(lambda: losses(run), process)
    process.send_signal(signal.SIGTERM)
    finish(process)
    assert process.returncode != 0
    assert 0 < read_run(run).step < 2000


def test_new_runs_have_a_least_weight_and_those_of_before_go_on_without(folder: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, folder, "run.steps=4").folder
    assert read_run(run).config.diffusion.min_v_weight == 0.1
    for path in run.rglob("*"):  # as version 0.1.0 wrote them
        if path.name in ("config.yaml", "settings.yaml"):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if "min_v_weight" not in line))
    assert run_tiny(tmp_path, folder, "run.steps=4").config.diffusion.min_v_weight == 0
    again = run_tiny(tmp_path, folder, "run.steps=8", resume=True)
    assert (again.step, again.config.diffusion.min_v_weight) == (8, 0)


def test_new_runs_show_where_each_class_is_and_those_like_diffinfinite_do_not(
    folder: Path, tmp_path: Path
) -> None:
    def spatial(name: str, *settings: str, config: Path | None = None, resume: bool = False) -> bool:
        options = [*TINY, "run.steps=1", *settings]
        result = train(
            workspace=tmp_path,
            data=folder,
            config=config,
            settings=options,
            name=name,
            resume=resume,
            device="cpu",
        )
        return result.config.model.spatial

    file = tmp_path / "own.yaml"
    file.write_text("model: {dim: 8}\n")
    assert spatial("plain")
    assert spatial("default", "preset=default")
    assert not spatial("fork", "preset=diffinfinite-fork")
    assert spatial("both", "preset=diffinfinite-fork", "model.spatial=true")
    assert not spatial("file", config=file)
    # Runs keep theirs, whatever the version with which they began chose.
    assert spatial("both", "preset=diffinfinite-fork")
    assert not spatial("file", "run.steps=2", resume=True)


def test_accumulated_steps_give_the_losses_of_whole_ones(folder: Path, tmp_path: Path) -> None:
    settings = ("run.steps=5", "model.dropout=0.0")
    whole = run_tiny(tmp_path / "a", folder, *settings)
    parts = run_tiny(tmp_path / "b", folder, *settings, "run.accumulate=2")
    assert losses(parts.folder) == pytest.approx(losses(whole.folder), abs=1e-5)


def test_the_network_sees_whitened_latents(folder: Path, tmp_path: Path) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=20", "run.log_every=20", "data.batch_size=16")
    line = read_metrics(result.folder)[-1]
    assert line["latent_mean"] == pytest.approx([0] * 4, abs=0.25)
    assert line["latent_std"] == pytest.approx([1] * 4, abs=0.25)


def test_the_same_command_after_the_end_says_so_and_trains_nothing(folder: Path, tmp_path: Path) -> None:
    first = run_tiny(tmp_path, folder, "run.steps=2")
    before = weights(first.folder, 2)
    again = run_tiny(tmp_path, folder, "run.steps=2")
    assert (again.began, again.step, again.finished) == (2, 2, True)
    assert weights(first.folder, 2) == before


def test_other_settings_need_a_word(folder: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path, folder, "run.steps=2")
    with pytest.raises(
        HistodsError, match=r"began with other settings \(run\.steps: 2 before, 3 now\); add --resume"
    ):
        run_tiny(tmp_path, folder, "run.steps=3")


def test_resume_without_a_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="There is no checkpoint to resume from in .* omit --resume"):
        run_tiny(tmp_path, folder, "run.steps=3", resume=True)


def test_a_damaged_checkpoint_is_named_with_the_one_to_go_on_from(folder: Path, tmp_path: Path) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=8")
    whole = weights(result.folder, 8)
    damaged = result.folder / "checkpoints" / "step-00000008"
    content = bytearray((damaged / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (damaged / "model.safetensors").write_bytes(content)
    with pytest.raises(
        HistodsError, match=r"is missing or damaged \(its SHA-256 is .* resumes from step-00000004"
    ):
        run_tiny(tmp_path, folder, "run.steps=9", resume=True)
    with pytest.raises(HistodsError, match="is missing or damaged .its SHA-256 is "):
        load_model(result.folder, weights="model")
    shutil.rmtree(damaged)
    again = run_tiny(tmp_path, folder, "run.steps=8", resume=True)
    assert again.began == 4
    assert weights(result.folder, 8) == whole


@pytest.mark.parametrize("torn", ["model.safetensors", "state.json"])
def test_a_torn_checkpoint_is_named(folder: Path, tmp_path: Path, torn: str) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=4")
    path = result.folder / "checkpoints" / "step-00000004" / torn
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HistodsError) as caught:
        load_model(result.folder, weights="model")
    assert str(path if torn == "state.json" else path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


def poison(monkeypatch: pytest.MonkeyPatch, *, first: int, last: int) -> None:
    """Make latents of some steps that are no numbers, as damaged latents would be."""
    draw = training.data.source.Encoder.draw

    def poisoned(self: Encoder, batch: Batch, seeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latents, noise = draw(self, batch, seeds)
        steps = batch.positions_B // 4
        bad = (steps >= first) & (steps <= last)
        return torch.where(bad[:, None, None, None], torch.nan, latents), noise

    monkeypatch.setattr(training.data.source.Encoder, "draw", poisoned)


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, first=2, last=3)
    result = run_tiny(tmp_path, folder, "run.steps=6")
    assert result.skipped == 2
    assert [loss is None for loss in losses(result.folder)] == [False, False, True, True, False, False]
    model = load_model(result.folder, weights="model")
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def test_a_skipped_step_changes_no_weight(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, first=3, last=3)
    three = run_tiny(tmp_path / "a", folder, "run.steps=3", "run.checkpoint_every=3")
    four = run_tiny(tmp_path / "b", folder, "run.steps=4")
    assert weights(three.folder, 3)["optimizer.safetensors"] == weights(four.folder, 4)["optimizer.safetensors"]
    assert weights(three.folder, 3)["model.safetensors"] == weights(four.folder, 4)["model.safetensors"]


def test_too_many_skipped_steps_end_the_run_and_name_samples(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, first=2, last=99)
    with pytest.raises(HistodsError) as caught:
        run_tiny(tmp_path, folder, "run.steps=40", "run.max_skipped=5")
    message = str(caught.value)
    assert message.startswith("The gradients were not finite in 5 steps in a row, the last of them 7 (samples")
    assert "slide." in message
    run = read_run(tmp_path / "runs" / "default")
    assert run.step == 7
    assert all(bool(weight.isfinite().all()) for weight in load_model(run).parameters())


def test_a_class_without_samples_is_never_drawn(site: Site, tmp_path: Path) -> None:
    text = site.map.read_text().replace("Tumour, Stroma]", "Tumour, Stroma, Bone]")
    site.map.write_text(text.replace('Stroma: ["10-700"]', 'Stroma: ["10-700"], Bone: [900]'))
    shard(workspace=site.workspace, map=site.map, out=tmp_path / "shards", workers=1)
    assert run_tiny(tmp_path, tmp_path / "shards", "run.steps=1").config.model.num_classes == 4
    with pytest.raises(HistodsError, match="needs at least 2 classes"):
        run_tiny(tmp_path, tmp_path / "shards", "data.class_weights={Tumour: 0, Stroma: 0}", name="none")


def test_classes_that_do_not_fit_the_label_map_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        HistodsError,
        match="model.num_classes is 5, but the label map in .* has 3 classes; set model.num_classes=3",
    ):
        run_tiny(tmp_path, folder, "model.num_classes=5")


def test_other_data_are_refused(folder: Path, new_site: Callable[..., Site], tmp_path: Path) -> None:
    run_tiny(tmp_path, folder, "run.steps=4")
    site = new_site(tmp_path / "site", pairs=41)
    shard(workspace=site.workspace, out=tmp_path / "other", map=site.map, shard_mb=1, workers=1)
    with pytest.raises(HistodsError, match="holds shards with the index .*, but the run began with"):
        run_tiny(tmp_path, tmp_path / "other", "run.steps=8", resume=True)


def test_old_checkpoints_go_and_the_newest_stay(folder: Path, tmp_path: Path) -> None:
    result = run_tiny(tmp_path, folder, "run.steps=8", "run.checkpoint_every=2", "run.keep_checkpoints=2")
    kept = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert kept == ["latest", "step-00000006", "step-00000008"]


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_the_last_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # A mount of its own, which ends with the shell that made it.
    script = f'mount -t tmpfs -o size=2500k tmpfs {disk} && "$@"; echo status $?; cp -r {disk} {tmp_path}/after'
    words = command(disk, folder, "run.steps=40", "run.checkpoint_every=1", "run.keep_checkpoints=40")
    mounting = ["unshare", "--mount", "sh", "-c", script, "sh", *words]
    message = finish(subprocess.Popen(mounting, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True))
    if "unshare failed" in message or "mount:" in message:
        pytest.skip("mounting a small tmpfs needs root")
    line = message.splitlines()[-1]
    assert line.startswith("The checkpoint "), message
    assert "No space left on device" in line
    run = read_run(tmp_path / "after" / "runs" / "default")
    assert 1 <= run.step < 40
    load_model(run)
    assert not list((run.folder / "checkpoints").glob(".*"))


def test_sensible_defaults_are_chosen_and_said(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    said: list[str] = []
    result = train(workspace=site.workspace, settings=["run.steps=2", "model.dim_mults=[1,2]"], device="cpu",
                   say=said.append)  # fmt: skip
    assert result.finished
    assert "on the CPU" in said[0]
    assert "dim 32, 3 classes, spatial, 2 steps of 8, fp32" in said[0]
    assert {path.name for path in (result.folder / "samples").iterdir()} == {"step-00000002.png"}
    assert [line["step"] for line in read_metrics(result.folder) if line["kind"] == "validation"] == [2]


def test_a_dry_run_counts_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    result = train(workspace=tmp_path, data=folder, dry_run=True, debug=True, settings=list(TINY), device="cpu")
    assert result.plan is not None
    assert result.plan.parameters == sum(
        weight.numel() for name, weight in load_shapes(result).items() if name != "null_emb"
    )
    assert result.plan.memory_bytes > 20 * result.plan.parameters
    assert result.plan.seconds > 0
    assert dict(result.shapes)
    assert not (tmp_path / "runs").exists()


REFERENCE = """
model: {image_size: 512, dim: 256, num_classes: 5, dim_mults: [1, 2, 4], channels: 4, resnet_block_groups: 2,
  block_per_layer: 2}
diffusion: {timesteps: 1000, sampling_timesteps: 250, batch_size: 4, lr: 0.0001}
"""


def test_the_reference_s_file_is_counted_without_any_data(tmp_path: Path) -> None:
    path = tmp_path / "reference.yml"
    path.write_text(REFERENCE)
    result = train(workspace=tmp_path, config=path, dry_run=True, debug=True, device="cpu")
    assert result.plan is not None
    assert result.plan.parameters == 172_101_124
    assert result.plan.flops_per_image == pytest.approx(541e9, rel=0.01)
    deck = dict(result.shapes)
    assert deck["latents"] == (4, 4, 64, 64)
    assert deck["mask"] == (4, 1, 512, 512)
    assert deck["class distribution"] == (4, 5)
    assert deck["conditional embedding"] == (4, 1024)


@pytest.mark.parametrize("asked", [(), ("data.reduce=1",), ("data.reduce=2",)], ids=str)
def test_a_dry_run_before_shards_foresees_the_network_of_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    monkeypatch.setattr("training.verbs.train_settings._SIDE_ON_CPU", 24)  # images are of 48 px
    call = partial(
        train,
        workspace=site.workspace,
        map=site.map,
        device="cpu",
        settings=["run.steps=1", "model.dim_mults=[1]", "run.preview_every=0", "run.validate_every=0", *asked],
    )
    foreseen, made = call(dry_run=True).config, call().config
    assert (foreseen.model, foreseen.data) == (made.model, made.data)
    assert made.model.image_size == 48 // made.data.reduce
    assert made.data.reduce == (int(asked[0][-1]) if asked else 2)


def test_a_dry_run_says_what_would_stop_the_run(site: Site) -> None:
    text = site.map.read_text().replace("Tumour, Stroma]", "Tumour, Stroma, Bone]")
    site.map.write_text(text.replace('Stroma: ["10-700"]', 'Stroma: ["10-700"], Bone: [900]'))
    shard(workspace=site.workspace, map=site.map, workers=1)
    settings = [*TINY, "model.num_classes=4"]
    with pytest.raises(HistodsError, match="did you mean 'Bone'"):
        train(workspace=site.workspace, settings=[*settings, "data.class_weights.Bones=1"], dry_run=True)
    assert train(workspace=site.workspace, settings=settings, dry_run=True, device="cpu").plan is not None
    (site.workspace / "shards" / "index.parquet").write_bytes(b"torn")
    with pytest.raises(HistodsError, match=r"index\.parquet"):
        train(workspace=site.workspace, settings=settings, dry_run=True, device="cpu")


def test_an_image_size_that_is_not_the_images_is_said(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train(workspace=tmp_path, data=folder, settings=[*TINY, "run.steps=1", "model.image_size=64"], device="cpu",
          say=said.append)  # fmt: skip
    assert "48 px (the images', not model.image_size=64)" in " ".join(said)


def test_a_dry_run_without_data_needs_the_number_of_classes(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match="and there are no shards; run 'histods audit DATASET"):
        train(workspace=tmp_path, dry_run=True, device="cpu")


def load_shapes(result: object) -> dict[str, torch.Tensor]:
    from training.model.unet import UNet

    with torch.device("meta"):
        return dict(UNet(result.config.model).named_parameters())  # type: ignore[attr-defined]


def test_the_trainer_starts_where_torch_numpy_pyarrow_safetensors_and_yaml_are_all_there_is() -> None:
    absent = [
        "polars",
        "pandas",
        "xxhash",
        "cv2",
        "PIL",
        "kornia_rs",
        "simplejpeg",
        "loky",
        "typer",
        "rich",
        "matplotlib",
        "diffusers",
        "tensorboard",
    ]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); import training.verbs.train, training.__main__"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_seed_decides_everything(folder: Path, tmp_path: Path) -> None:
    first = run_tiny(tmp_path / "a", folder, "run.steps=4")
    same = run_tiny(tmp_path / "b", folder, "run.steps=4")
    other = run_tiny(tmp_path / "c", folder, "run.steps=4", "run.seed=1")
    assert weights(first.folder, 4) == weights(same.folder, 4)
    assert losses(first.folder) != losses(other.folder)


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", ["false", "true"])
def test_no_step_after_the_first_ones_waits_for_the_device(
    compiled: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from training.trainer.loop import Trainer

    step: Callable[..., None] = Trainer.train_step

    def strict(self: Trainer, batches: object) -> None:
        torch.cuda.set_sync_debug_mode("error" if self.step >= 2 else "default")  # kernels are made in the first
        try:
            step(self, batches)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "train_step", strict)
    settings = [setting for setting in TINY if "log_every" not in setting]
    train(
        workspace=tmp_path,
        data=folder,
        settings=[*settings, "run.steps=8", f"run.compile={compiled}"],
        device="cuda",
    )
