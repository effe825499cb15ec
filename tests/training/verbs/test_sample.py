"""sample: pairs that the audit accepts, the same picture for the same seed, and nothing lost or mixed."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from histods import audit
from histods.dataset.manifest import Manifest
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.io.samples_elsewhere import read_places
from histods.io.workspace import Workspace
from tests.commands import histods
from training import load_model
from training.autoencoders.linear import LinearAutoencoder
from training.config.model import ModelConfig
from training.config.sections import DataConfig, DiffusionConfig, TrainConfig
from training.inference import output_folder as sample_folder
from training.inference.pictures import write_png
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.runs.checkpoint import State, read_run, save_checkpoint, write_run
from training.verbs.sample import SampleResult, sample

CLASSES = ("Unknown", "Tumour", "Stroma")


def make_run(folder: Path, *, step: int = 5, broken: bool = False, reduce: int = 1) -> Path:
    """Write a run of a tiny network with random weights (or such as are no numbers), 32 x 32 px, three classes."""
    config = TrainConfig(
        model=ModelConfig(image_size=32, dim=8, num_classes=3, dim_mults=(1, 2), spatial=True),
        diffusion=DiffusionConfig(sampling_timesteps=10),
        data=DataConfig(reduce=reduce),
    )
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8, generator=generator)
    autoencoder = LinearAutoencoder.fit([blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)])
    autoencoder.save(folder / "autoencoder")
    write_run(folder, config)
    state = State(
        step=step,
        position=step * config.data.batch_size,
        index_digest="0" * 64,
        classes=CLASSES,
        map_digest="1" * 64,
        autoencoder={"name": "autoencoder", "digest": autoencoder.digest},
        latent_space=LatentSpace.preset("default", mean=[0.1] * 4, std=[1.5] * 4).to_json(),
    )
    torch.manual_seed(step)
    model = UNet(config.model).state_dict()
    averaged = {name: tensor * (float("nan") if broken else 0.9) for name, tensor in model.items()}
    save_checkpoint(folder, state, {"model": model, "ema": averaged})
    return folder


def write_mask(path: Path, classes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(classes).save(path)
    return path


def halves(upper: int, lower: int, size: int = 32) -> Any:
    mask = np.full((size, size), upper, np.uint8)
    mask[size // 2 :] = lower
    return mask


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate") / "out"
    make_run(folder / "runs" / "default")
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five masks in two sizes, beside a photograph."""
    folder = tmp_path_factory.mktemp("masks")
    for number in range(4):
        write_mask(folder / f"patch.{number}_mask.png", halves(number % 3, (number + 1) % 3))
    write_mask(folder / "deep" / "änderung_mask.png", halves(1, 2, 64))
    Image.new("RGB", (32, 32)).save(folder / "patch.0.jpg")
    return folder


def made(result: SampleResult) -> dict[str, str]:
    """Every file of the result with the digest of its bytes."""
    paths = [path for path in result.folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(result.folder).as_posix(): file_digest(path) for path in paths}


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path)).astype(int)


def test_every_image_has_its_mask_and_the_audit_takes_them_as_pairs(
    workspace: Path, masks: Path, tmp_path: Path
) -> None:
    result = sample(masks=masks, workspace=workspace, out=tmp_path / "images", count=2, steps=2)
    assert (result.masks, result.written, result.present, result.passed_over) == (5, 10, 0, 1)
    assert not result.warnings
    found = audit(result.folder, workspace=tmp_path / "audit")
    assert (found.counts.pairs, found.counts.images, found.counts.masks) == (10, 10, 10)
    assert (found.findings["mixed_sizes"], found.severities.get("warning"), found.severities.get("error")) == (
        2,
        2,
        None,
    )
    for number in range(4):
        for name in (f"patch.{number}", f"patch.{number}-1"):
            assert np.array_equal(pixels(result.folder / f"{name}_mask.png"), halves(number % 3, (number + 1) % 3))
            assert pixels(result.folder / f"{name}.png").shape == (32, 32, 3)
    assert pixels(result.folder / "deep" / "änderung-1.png").shape == (64, 64, 3)


def test_masks_below_the_size_of_training_are_said(workspace: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "small.png", np.ones((16, 48), np.uint8))
    result = sample(masks=mask, workspace=workspace, out=tmp_path / "images", steps=1)
    assert result.warnings == (
        "masks of 48x16 px (1): the network was trained on 32x32, so tissue may look too large or too small",
    )


def test_sizes_are_those_before_the_reduction(tmp_path: Path) -> None:
    """A network for 32 x 32 px, trained on images of twice that size, is given masks of the larger size."""
    run = make_run(tmp_path / "run", reduce=2)
    large = write_mask(tmp_path / "large.png", halves(1, 2, 80 * 2))
    small = write_mask(tmp_path / "small.png", halves(1, 2, 16 * 2))
    wrong = write_mask(tmp_path / "wrong.png", halves(1, 2, 84 * 2))
    options: dict[str, Any] = {"run": run, "workspace": tmp_path, "steps": 1}
    found = sample(masks=large, out=tmp_path / "a", **options)
    assert pixels(found.folder / "large.png").shape == (80, 80, 3)
    assert not found.warnings
    (warning,) = sample(masks=small, out=tmp_path / "b", **options).warnings
    assert warning.startswith("masks of 32x32 px (1): the network was trained on 64x64, ")
    with pytest.raises(HistodsError, match="wrong.png is 168x168 px, but its sides must be multiples of 16 px"):
        sample(masks=wrong, out=tmp_path / "c", **options)


def test_masks_of_any_size_give_images_of_that_size(workspace: Path, tmp_path: Path) -> None:
    """A side above the size of training has to be a multiple of the autoencoder's 8 pixels alone."""
    mask = write_mask(tmp_path / "masks" / "large.png", np.arange(88 * 200).reshape(88, 200).astype(np.uint8) % 3)
    options: dict[str, Any] = {"masks": mask, "workspace": workspace, "steps": 3}
    one = sample(out=tmp_path / "one", batch=1, **options)
    many = sample(out=tmp_path / "many", batch=16, **options)
    tiff = sample(out=tmp_path / "tiff", format="tiff", **options)
    found = pixels(one.folder / "large.png")
    assert found.shape == (88, 200, 3)
    assert np.abs(found - pixels(many.folder / "large.png")).max() <= 1
    assert np.abs(found - pixels(tiff.folder / "large.tif")).max() <= 1
    assert np.array_equal(pixels(tiff.folder / "large_mask.png"), pixels(mask))
    assert sample(out=tmp_path / "tiff", format="tiff", **options).written == 0
    assert audit(tiff.folder, workspace=tmp_path / "audit").counts.pairs == 1
    for name, width in (("odd", 84), ("thin", 8)):  # 84 is no multiple of 8, and 8 is below the size of training
        wrong = write_mask(tmp_path / name / "x.png", np.zeros((40, width), np.uint8))
        with pytest.raises(HistodsError, match=f"{width}x40 px, but its sides must be multiples of"):
            sample(masks=wrong, workspace=workspace, out=tmp_path / "no")


def test_a_large_image_is_made_again_with_the_same_bytes(workspace: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "x.png", halves(1, 2, 96))
    options: dict[str, Any] = {"masks": mask, "workspace": workspace, "steps": 2, "format": "tiff"}
    first, second = (sample(out=tmp_path / name, **options) for name in ("a", "b"))
    assert made(first) == made(second)
    (first.folder / "x.tif").unlink()
    assert sample(out=tmp_path / "a", **options).written == 1
    assert made(first) == made(second)


def test_the_table_of_pairs_keeps_images_of_one_mask_in_one_group(
    workspace: Path, masks: Path, tmp_path: Path
) -> None:
    result = sample(masks=masks, workspace=workspace, out=tmp_path / "images", count=2, steps=1)
    audit(result.folder, workspace=tmp_path / "audit", layout="csv", pairs=result.record.parent / "pairs.csv")
    table = Manifest.read(tmp_path / "audit" / "manifest.parquet").to_pandas()
    assert sorted(table["group"]) == sorted(["deep/änderung", *(f"patch.{n}" for n in range(4))] * 2)
    assert set(table[table["group"] == "patch.0"]["key"]) == {"patch.0", "patch.0-1"}


def test_the_record_says_what_images_were_made_from(workspace: Path, masks: Path, tmp_path: Path) -> None:
    result = sample(masks=masks, workspace=workspace, out=tmp_path / "images", steps=2, guidance=2, seed=7)
    document = json.loads(result.record.read_text())
    recipe = document["recipe"]
    weights = workspace / "runs" / "default" / "checkpoints" / "step-00000005" / "ema.safetensors"
    assert recipe["weights_digest"] == file_digest(weights)
    wanted = {
        "run": "default",
        "step": 5,
        "weights": "ema",
        "sampler": "dpm",
        "steps": 2,
        "guidance": 2,
        "seed": 7,
    }
    assert recipe.items() >= wanted.items()
    assert len({image["seed"] for image in document["images"]}) == 5
    for image in document["images"]:
        assert image["image_digest"] == file_digest(result.folder / image["image"])


@pytest.mark.parametrize(
    "options", [{}, {"sampler": "ddim", "eta": 1.0}, {"reference": True}, {"sampler": "unipc"}], ids=str
)
def test_a_picture_does_not_depend_on_its_batch(
    workspace: Path, masks: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    one, many = (
        sample(masks=masks, workspace=workspace, out=tmp_path / f"{size}", batch=size, steps=4, **options)
        for size in (1, 3)
    )
    for name in (f"patch.{number}.png" for number in range(4)):
        assert np.abs(pixels(one.folder / name) - pixels(many.folder / name)).max() <= 1, (
            "a grey level of rounding"
        )
    alone = sample(
        masks=masks / "patch.2_mask.png", workspace=workspace, out=tmp_path / "alone", steps=4, **options
    )
    name = "patch.2.png"
    assert np.abs(pixels(one.folder / name) - pixels(alone.folder / name)).max() <= 1


def test_seed_number_mask_and_weights_each_change_the_picture(
    workspace: Path, masks: Path, tmp_path: Path
) -> None:
    def picture(name: str = "patch.1", **options: Any) -> bytes:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        result = sample(masks=masks, workspace=workspace, out=out, steps=3, **options)
        content: bytes = pixels(result.folder / f"{name}.png").tobytes()
        return content

    pictures = [
        picture(),
        picture("patch.1-1", count=2),
        picture(seed=1),
        picture(weights="model"),
        picture(guidance=1.0),
        picture(sampler="ddim"),
        picture(reference=True),
        picture(guidance_interval=(0.2, 0.7)),
        picture(guidance_rescale=0.7),
        picture(sampler="unipc"),
        picture(sampler="unipc", levels="log-snr"),
    ]
    assert len(set(pictures)) == len(pictures)
    assert picture() == pictures[0]


def test_a_killed_call_goes_on_and_ends_with_the_same_bytes(workspace: Path, masks: Path, tmp_path: Path) -> None:
    whole = sample(masks=masks, workspace=workspace, out=tmp_path / "whole", count=3, steps=3, batch=2)

    class Killed(BaseException):
        pass

    def kill(stage: str, done: int, total: int) -> None:
        if stage.startswith("sampling") and done > total // 2:
            raise Killed

    options: dict[str, Any] = {"masks": masks, "workspace": workspace, "count": 3, "steps": 3, "batch": 2}
    with pytest.raises(Killed):
        sample(out=tmp_path / "killed", progress=kill, **options)
    (tmp_path / "killed" / "patch.1.png").unlink()  # as if it had been killed between a mask and its image
    (tmp_path / "killed" / ".patch.1.png.123.part").touch()
    before = len(list((tmp_path / "killed").rglob("*_mask.png")))
    again = sample(out=tmp_path / "killed", **options)
    assert again.present == before - 1 > 0
    assert made(again) == made(whole)
    last = sample(out=tmp_path / "killed", **options)
    assert (last.written, last.present) == (0, 15)
    assert made(last) == made(whole)


def test_more_images_join_those_that_are_there(workspace: Path, masks: Path) -> None:
    first = sample(masks=masks / "patch.0_mask.png", workspace=workspace, steps=1)
    stamp = (first.folder / "patch.0.png").stat().st_mtime_ns
    second = sample(masks=masks, workspace=workspace, count=2, steps=1)
    assert second.folder == first.folder
    assert (second.written, second.present) == (9, 1)
    assert (first.folder / "patch.0.png").stat().st_mtime_ns == stamp
    assert len(json.loads(second.record.read_text())["images"]) == 10
    other = sample(masks=masks, workspace=workspace, steps=2)
    assert other.folder != first.folder, "another recipe has a folder of its own"


def test_what_is_in_the_way_is_refused_and_stays(workspace: Path, masks: Path, tmp_path: Path) -> None:
    mine = sample(masks=masks, workspace=workspace, out=tmp_path / "mine", steps=1)
    before = made(mine)
    write_mask(tmp_path / "others" / "patch.0_mask.png", halves(2, 2))
    (tmp_path / "photographs").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photographs" / "holiday.jpg")
    (tmp_path / "file").touch()
    refused: list[tuple[dict[str, Any], str]] = [
        (
            {"out": tmp_path / "mine", "steps": 2},
            r"mine holds images of another recipe \(steps 1 instead of 2\); choose",
        ),
        (
            {"out": tmp_path / "mine", "masks": tmp_path / "others"},
            r"made for another mask of this name than .*patch\.0_mask\.png; choose",
        ),
        ({"out": tmp_path / "mine", "format": "tiff"}, r"another recipe \(format png instead of tiff\); choose"),
        (
            {"out": tmp_path / "mine", "guidance_rescale": 0.5},
            r"another recipe \(guidance_rescale none instead of 0.5\); choose",
        ),
        ({"out": tmp_path / "photographs"}, r"photographs already holds .*holiday\.jpg; choose a new"),
        ({"out": tmp_path / "file"}, r"file is a file; --out must name a folder"),
        ({"out": masks}, r"overlaps the folder of the masks"),
        ({"out": masks / "new"}, r"overlaps the folder of the masks"),
        ({"out": masks, "masks": masks / "patch.0_mask.png"}, r"overlaps the folder of the masks"),
    ]
    for options, message in refused:
        with pytest.raises(HistodsError, match=message):
            sample(**{"masks": masks, "workspace": workspace, "steps": 1, **options})
    assert made(mine) == before
    assert not (masks / "new").exists()


def test_nothing_is_begun_before_all_masks_are_sound(workspace: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "a.png", halves(0, 1))
    write_mask(tmp_path / "masks" / "b.png", halves(0, 3))
    with pytest.raises(
        HistodsError, match=r"b\.png has labels that are not among the classes 0 to 2: 3 \(512 pixels\)"
    ):
        sample(masks=tmp_path / "masks", workspace=workspace, out=tmp_path / "images")
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "--steps is 0; it must be from 1 to 1000: "),
        ({"steps": 1001}, "--steps is 1001; it must be from 1 to 1000: "),
        ({"guidance": float("nan")}, "--guidance is nan; it must be from 0 to 100: "),
        ({"eta": 0.5}, "--eta is 0.5; it must be 0 with --sampler dpm: leave one out"),
        ({"eta": 2.0, "sampler": "ddim"}, "--eta is 2.0; it must be from 0 to 1: "),
        ({"count": 0}, "--count is 0; it must be at least 1: "),
        ({"batch": 0}, "--batch is 0; it must be at least 1: "),
        ({"format": "jpeg"}, "--format is jpeg; it must be png or tiff"),
        ({"seed": -1}, "--seed is -1; it must be from 0 to"),
        ({"guidance_interval": (0.7, 0.2)}, "--guidance-interval is 0.7:0.2; it must be two shares of noise"),
        ({"guidance_interval": (0.2, 1.5)}, "--guidance-interval is 0.2:1.5; it must be two shares of noise"),
        ({"guidance_rescale": 1.5}, "--guidance-rescale is 1.5; it must be from 0 to 1: "),
        ({"guidance_rescale": 0.5, "reference": True}, "--guidance-rescale cannot be used with --reference"),
        ({"guidance_interval": (0, 0.5), "guidance": 1}, "--guidance-interval has no effect with guidance 1"),
        ({"sampler": "euler"}, "--sampler is euler; it must be dpm, ddim or unipc"),
        ({"levels": "karras"}, "--levels is karras; it must be time or log-snr"),
        ({"levels": "log-snr", "reference": True}, "--levels log-snr is not how --reference samples"),
        ({"eta": 0.5, "sampler": "unipc"}, "--eta is 0.5; it must be 0 with --sampler unipc"),
        ({"guide": "default", "reference": True}, "--guide cannot be used with --reference"),
        ({"guide": "default", "guidance": 1}, "--guide has no effect with guidance 1"),
        ({"guide": "default"}, "--guide default is the checkpoint to sample from"),
        ({"guide": "gone"}, "There is no run gone"),
        ({"run": "missing"}, "; choose one of default"),
    ],
    ids=str,
)
def test_a_wrong_option_is_one_line(
    workspace: Path, masks: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HistodsError, match=message) as caught:
        sample(masks=masks, workspace=workspace, out=tmp_path / "images", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "images").exists()


def test_masks_of_colliding_names_are_refused(workspace: Path, tmp_path: Path) -> None:
    for name in ("x", "x-1", "overview/y"):
        write_mask(tmp_path / "masks" / f"{name}.png", halves(0, 1))
    with pytest.raises(HistodsError, match=r"y\.png is in a folder called overview, "):
        sample(masks=tmp_path / "masks", workspace=workspace, count=2)
    (tmp_path / "masks" / "overview" / "y.png").unlink()
    with pytest.raises(HistodsError, match=r"x\.png and .*x-1\.png would both give the image x-1; rename"):
        sample(masks=tmp_path / "masks", workspace=workspace, count=2)


def test_a_network_that_diverged_leaves_no_picture(masks: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", broken=True)
    with pytest.raises(HistodsError, match="images hold numbers that are not finite: its weights have diverged"):
        sample(run=run, masks=masks, workspace=tmp_path, out=tmp_path / "images", steps=1)
    assert not list((tmp_path / "images").rglob("*.png"))
    for kind in ("png", "tiff"):  # one large image, which is written as it is decoded
        out = tmp_path / kind
        with pytest.raises(HistodsError, match="not finite"):
            sample(run=run, masks=masks / "deep", workspace=tmp_path, out=out, steps=1, format=kind)
        assert [path.name for path in out.rglob("*") if path.is_file() and path.name != ".lock"] == [
            "samples.json"
        ]
    assert sample(run=run, masks=masks, workspace=tmp_path, steps=1, weights="model").written == 5


def test_a_full_disk_is_one_line_and_what_is_there_stays(
    workspace: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_png

    def fill(path: Path, pixels: Any) -> None:
        if path.name == "patch.2.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, pixels)

    monkeypatch.setattr(sample_folder, "write_png", fill)
    options: dict[str, Any] = {"masks": masks, "workspace": workspace, "out": tmp_path / "images", "steps": 1}
    with pytest.raises(
        HistodsError, match=r"patch\.2\.png could not be written: No space left on device; make room"
    ):
        sample(**options)
    monkeypatch.undo()
    result = sample(**options)
    assert (result.written, result.present) == (3, 2)


def test_one_checkpoint_of_a_run_may_be_named(masks: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", step=5)
    make_run(run, step=9)
    newest = sample(run=run, masks=masks, workspace=tmp_path, steps=1)
    older = sample(run=run / "checkpoints" / "step-00000005", masks=masks, workspace=tmp_path, steps=1)
    assert (newest.step, older.step) == (9, 5)
    assert load_model(older.run, device="cpu").config == read_run(run).config.model


def test_the_command_speaks_json_and_says_where_to_look(workspace: Path, masks: Path, tmp_path: Path) -> None:
    options = ["--masks", masks, "-w", workspace, "--out", tmp_path / "images", "--steps", "1", "--json"]
    result = histods("sample", *options)
    document = json.loads(result.stdout)
    assert document["written"] == 5
    assert Path(document["contact_sheet"]).is_file()
    assert "images made" in result.stderr


def test_images_elsewhere_are_noted_in_the_workspace_if_it_can_be_written(masks: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "out" / "runs" / "default")
    space = Workspace(tmp_path / "out")
    options: dict[str, Any] = {"masks": masks / "patch.0_mask.png", "workspace": space.folder, "steps": 1}
    sample(**options)
    assert not space.samples_elsewhere.exists()
    sample(**options, out=tmp_path / "images")
    assert read_places(space, []) == [tmp_path / "images"]
    shutil.rmtree(space.samples_elsewhere)
    space.samples_elsewhere.touch()  # so that nothing can be written there
    assert sample(**options, out=tmp_path / "others").written == 1
