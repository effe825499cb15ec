"""What `train` makes by itself before it trains, what it makes again, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from histods import audit, remap, sample, shard, split
from histods.errors import HistodsError
from histods.shards.images.shard_set import ShardSet
from tests.training.trained_runs import TINY
from training.verbs.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Site
    from training.verbs.train import TrainResult

OTHER_MAP = "name: two\nclasses: {0: Unknown, 1: Tissue}\nmap: {Unknown: [0], Tissue: ['1-700']}\n"


def train_tiny(workspace: Path, *settings: str, **options: Any) -> tuple[TrainResult, list[str]]:
    """Train for two steps; return the result and the lines that were printed."""
    said: list[str] = []
    steps = [*TINY, "run.steps=2", *settings]
    result = train(workspace=workspace, settings=steps, device="cpu", say=said.append, **options)
    return result, said


def refusal(workspace: Path, **options: Any) -> str:
    with pytest.raises(HistodsError) as caught:
        train_tiny(workspace, **options)
    return str(caught.value)


def map_of(workspace: Path) -> str:
    return ShardSet.read(workspace / "shards").map


def write_other_map(site: Site) -> Path:
    path = site.map.with_name("two.yml")
    path.write_text(OTHER_MAP)
    return path


def test_after_audit_and_remap_it_trains_on_the_classes_of_the_label_map(site: Site) -> None:
    name = remap(workspace=site.workspace, map=site.map).name
    result, said = train_tiny(site.workspace)
    assert result.finished
    assert result.config.model.num_classes == 3
    assert result.splits == ("train",)
    assert map_of(site.workspace) == name
    assert said[0] == f"Making the split: histods split -w {site.workspace}"
    assert said[1].endswith("no group of 5 is in two of them.")
    assert said[2] == f"Making the shards with the classes of '{name}': histods shard -w {site.workspace}"
    assert said[3].startswith("Training on")
    assert train_tiny(site.workspace)[1][0].startswith("Training on"), "what is there is used"


def test_of_several_label_maps_one_has_to_be_named(site: Site) -> None:
    first, second = (remap(workspace=site.workspace, map=path).name for path in (site.map, write_other_map(site)))
    assert f"has 2 label maps: {', '.join(sorted((first, second)))}." in refusal(site.workspace)
    result, _ = train_tiny(site.workspace, map=second)
    assert result.config.model.num_classes == 2
    assert train_tiny(site.workspace)[1][0].startswith("Training on"), "a run resumes with its own map"
    assert "began with other data: they have the classes of 'two'" in refusal(site.workspace, map=first)
    result, said = train_tiny(site.workspace, map=first, name="other")
    assert result.config.model.num_classes == 3
    assert "again (they have the classes of 'two', not of" in said[0]


def test_labels_can_be_kept_although_there_is_a_label_map(site: Site) -> None:
    for path in site.root.rglob("*_mask.png"):
        if path.stat().st_size and path.read_bytes()[24:25] == b"\x10":  # 16 bits: labels beyond those of 8
            path.unlink()
    audit(site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1)
    remap(workspace=site.workspace, map=site.map)
    train_tiny(site.workspace, map="labels")
    assert map_of(site.workspace) == "labels"


def test_what_is_out_of_date_is_made_again_and_that_is_said(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    split(workspace=site.workspace, test=0.4, seed=7)
    shard(workspace=site.workspace, workers=1)
    lost = next(iter(site.images.values()))
    lost.unlink()
    audit(site.root, workspace=site.workspace, group_regex=r"^(slide\.\d)", allow_unpaired=True, workers=1)
    _, said = train_tiny(site.workspace)
    assert [line.split(":")[0] for line in said if line.startswith("Making")] == [
        "Making the class system 'three' again (the dataset was audited again since)",
        "Making the split again (the dataset was audited again since)",
        "Making the shards with the classes of 'three' again (the dataset was audited again since)",
    ]
    repeated = next(line for line in said if line.startswith("Making the split"))
    assert "--test 0.4" in repeated
    assert "--seed 7" in repeated
    keys = pl.read_parquet(site.workspace / "shards" / "index.parquet")["key"]
    assert len(keys) == len(pl.read_parquet(site.workspace / "split.parquet"))


def test_without_preparing_each_thing_is_refused_with_its_command(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    assert f"no split yet. Run 'histods split -w {site.workspace}'" in refusal(site.workspace, prepare=False)
    split(workspace=site.workspace)
    assert f"no shards yet. Run 'histods shard -w {site.workspace}'" in refusal(site.workspace, prepare=False)
    shard(workspace=site.workspace, workers=1)
    assert train_tiny(site.workspace, prepare=False)[0].finished
    split(workspace=site.workspace, seed=1)
    message = refusal(site.workspace, prepare=False, name="other")
    assert "the samples were split again since" in message
    assert "--overwrite" in message


def test_a_run_never_goes_on_with_other_shards_and_its_own_are_not_replaced(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    train_tiny(site.workspace)
    before = (site.workspace / "shards" / "shards.json").read_bytes()
    split(workspace=site.workspace, seed=1)
    assert "began with other data: the samples were split again since" in refusal(site.workspace)
    assert (site.workspace / "shards" / "shards.json").read_bytes() == before


def test_shards_that_were_made_with_a_map_of_their_own_are_used_or_asked_about(site: Site) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    assert train_tiny(site.workspace)[0].config.model.num_classes == 3, "the workspace has no other map"
    remap(workspace=site.workspace, map=write_other_map(site))
    assert "Choose one with --map" in refusal(site.workspace, name="other")


def test_shards_without_an_audit_are_taken_as_they_are(site: Site, tmp_path: Path) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    alone = tmp_path / "copied"
    alone.mkdir()
    (site.workspace / "shards").rename(alone / "shards")
    assert train_tiny(alone)[0].finished


def test_too_few_samples_are_not_split(site: Site) -> None:
    for key, image in list(site.images.items())[3:]:
        image.unlink()
        for mask in image.parent.glob(f"{image.name.split('.')[0]}_mask.*"):
            mask.unlink()
        assert key
    audit(site.root, workspace=site.workspace, allow_unpaired=True, workers=1)
    remap(workspace=site.workspace, map=site.map)
    result, said = train_tiny(site.workspace, "data.batch_size=2")
    assert any(line.startswith("No split, so all samples are used for training") for line in said)
    assert result.splits == ("all",)


@pytest.mark.parametrize(
    ("sizes", "side"), [((64, 96), 64), ((50, 50), 32)], ids=["several sizes", "not a multiple"]
)
def test_images_that_training_cannot_take_are_refused_before_shards_are_made(
    tmp_path: Path, sizes: tuple[int, int], side: int
) -> None:
    for number, size in enumerate(sizes):
        labels = np.zeros((size, size), np.uint8)
        labels[5:20, 5:20] = 1
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(np.full((size, size, 3), 150, np.uint8)).save(tmp_path / "data" / f"{number}.png")
        Image.fromarray(labels).save(tmp_path / "data" / f"{number}_mask.png")
    audit(tmp_path / "data", workspace=tmp_path / "out", workers=1)
    with pytest.raises(HistodsError, match=f"histods tile --size {side} --to DIR"):
        train(workspace=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out" / "shards").exists()
    assert not (tmp_path / "out" / "split.parquet").exists()


def test_images_are_reduced_on_a_cpu_and_samples_have_the_size_of_training(tmp_path: Path, new_site: Any) -> None:
    site = new_site(tmp_path, pairs=20, size=192)
    remap(workspace=site.workspace, map=site.map)
    said: list[str] = []
    settings = [
        "run.steps=1",
        "data.batch_size=4",
        "model.dim=8",
        "run.validate_every=0",
        "run.preview_every=0",
    ]
    result = train(workspace=site.workspace, settings=settings, device="cpu", say=said.append)
    assert (result.config.data.reduce, result.config.model.image_size) == (2, 96)
    assert "Images are reduced from 192 px by data.reduce=2" in "\n".join(said)
    whole = train(workspace=site.workspace, settings=[*settings, "data.reduce=1"], name="whole", device="cpu")
    assert whole.config.model.image_size == 192
    masks = remap(workspace=site.workspace, map="three", write_masks=tmp_path / "masks")
    assert masks.masks_written
    one = next(path for path in sorted((tmp_path / "masks").rglob("*_mask.png")))
    made = sample(run=result.folder, masks=one, out=tmp_path / "made", steps=2, device="cpu")
    pictures = [path for path in made.folder.rglob("*.png") if "overview" not in path.parts]
    assert {np.asarray(Image.open(path)).shape[:2] for path in pictures} == {(96, 96)}


def test_classes_without_samples_have_probability_0_and_that_is_said(site: Site) -> None:
    path = site.map.with_name("wide.yml")
    path.write_text(
        "name: wide\nclasses: [Unknown, Tissue, Nowhere]\nmap: {Unknown: [0], Tissue: ['1-700'], Nowhere: [900]}\n"
    )
    remap(workspace=site.workspace, map=path)
    result, said = train_tiny(site.workspace)
    assert result.finished
    assert "No sample has Nowhere: probability 0." in said


def test_class_weights_choose_what_is_drawn(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    result, _ = train_tiny(site.workspace, "data.class_weights.Tumour=3")
    assert result.config.data.class_weights == {"Tumour": 3.0}
    with pytest.raises(HistodsError, match="did you mean 'Tumour'"):
        train_tiny(site.workspace, "data.class_weights.Tumor=3", name="other")


def test_a_label_map_that_was_edited_is_applied_again_or_ends_the_run(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    train_tiny(site.workspace)
    site.map.write_text(site.map.read_text().replace("Stroma", "Necrosis"))
    assert "three.yml was edited since" in refusal(site.workspace)
    result, said = train_tiny(site.workspace, name="other")
    assert said[0].startswith("Making the class system 'three' again (")
    assert result.finished
    assert "Necrosis" in ShardSet.read(site.workspace / "shards").classes


def test_a_dry_run_needs_no_shards(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    plan = train(workspace=site.workspace, settings=["model.dim_mults=[1]"], device="cpu", dry_run=True)
    assert (plan.config.model.num_classes, plan.config.model.image_size) == (3, 48)
    assert plan.plan is not None
    assert not (site.workspace / "shards").exists()
    assert not (site.workspace / "split.parquet").exists()


def test_a_run_goes_on_with_its_own_settings_where_none_are_given(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    train_tiny(site.workspace)
    again = train(workspace=site.workspace, device="cpu")
    assert (again.began, again.step) == (2, 2)
