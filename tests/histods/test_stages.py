"""Each part of a workspace is done, stale or missing by what its files say, with the command that makes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError, remap, shard, split
from histods.errors import StaleFileError
from histods.io.workspace import Workspace
from histods.stages import class_system_stages, edited_file, latent_stage, shard_stage, split_stage, training_map
from tests.histods.shards.latents.made import PLAIN, Made
from tests.in_process import all_here, audit_here

if TYPE_CHECKING:
    from histods.stages import Stage

MAP = "name: two\nclasses: [Unknown, Tissue]\nmap: {Unknown: [0], Tissue: ['1-9']}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that went through every step but encoding."""
    folder = tmp_path_factory.mktemp("stages")
    root = folder / "data"
    root.mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (number, 9, 9)).save(root / f"{number}.png")
        Image.fromarray(np.tri(32, dtype=np.uint8) * (number + 1)).save(root / f"{number}_mask.png")
    (folder / "two.yml").write_text(MAP)
    audit_here(root, workspace=folder / "out")
    remap(workspace=folder / "out", map=folder / "two.yml")
    split(workspace=folder / "out", test=0.3)
    with all_here():
        shard(workspace=folder / "out")
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Workspace:
    """A copy of the workspace; the dataset and the label map stay where they are."""
    shutil.copytree(made / "out", tmp_path / "out")
    return Workspace(tmp_path / "out")


def of_shards(space: Workspace) -> Stage:
    audit = space.read_audit()
    return shard_stage(space, audit, training_map(space, audit, None), named=False)


def audited_again(space: Workspace) -> None:
    """What an audit of other files leaves: another manifest, and its digest."""
    from histods.dataset.manifest import Manifest
    from histods.io.atomic import file_digest

    manifest = Manifest.read(space.manifest)
    Manifest(manifest.table.slice(1), manifest.provenance).write(space.manifest)
    document = json.loads(space.audit.read_text())
    space.audit.write_text(json.dumps(document | {"manifest_digest": file_digest(space.manifest)}))


def test_what_was_made_of_this_audit_is_done(space: Workspace) -> None:
    audit = space.read_audit()
    assert [(one.name, one.state, one.detail) for one in class_system_stages(space, audit)] == [
        ("two", "done", "2 classes")
    ]
    assert split_stage(space, audit).state == of_shards(space).state == "done"
    assert of_shards(space).detail.startswith("6 samples of 'two', ")
    assert latent_stage(space).state == "missing"


def test_what_is_not_there_is_missing_with_the_command_that_makes_it(space: Workspace) -> None:
    space.split.unlink()
    shutil.rmtree(space.shards)
    shutil.rmtree(space.folder / "remap")
    audit = space.read_audit()
    assert class_system_stages(space, audit) == []
    missing = [split_stage(space, audit), shard_stage(space, audit, None, named=False), latent_stage(space)]
    assert [one.state for one in missing] == ["missing"] * 3
    assert [one.command for one in missing] == [
        f"histods {verb} -w {space.folder}" for verb in ("split", "shard --map FILE", "encode")
    ]


def test_everything_is_stale_once_the_dataset_was_audited_again(space: Workspace) -> None:
    audited_again(space)
    audit = space.read_audit()
    stages = [*class_system_stages(space, audit), split_stage(space, audit)]
    with pytest.raises(StaleFileError, match="split.parquet was made from an earlier audit"):
        of_shards(space)
    space.split.unlink()
    stages.append(of_shards(space))
    assert [(one.state, one.detail) for one in stages] == [("stale", "the dataset was audited again since")] * 3
    assert stages[-1].command == f"histods shard -w {space.folder} --overwrite"
    assert "--test 0.3" in stages[1].command


@pytest.mark.parametrize("content", [b"", b"{}", b'{"classes": 3}', b"\xff"])
def test_damaged_files_are_stale_and_never_an_error(space: Workspace, content: bytes) -> None:
    audit = space.read_audit()
    space.remap_summary("two").write_bytes(content)
    (space.shards / "shards.json").write_bytes(content)
    space.latents.mkdir()
    (space.latents / "latents.json").write_bytes(content)
    (system,) = class_system_stages(space, audit)
    assert system.state == latent_stage(space).state == "stale"
    assert shard_stage(space, audit, None, named=False).state == "stale"


def test_a_label_map_that_was_edited_is_stale_and_one_that_is_gone_is_not(space: Workspace, made: Path) -> None:
    audit, file = space.read_audit(), made / "two.yml"
    assert edited_file(space, audit, "two") is None
    try:
        file.write_text(MAP.replace("1-9", "1-8"))
        (stage,) = class_system_stages(space, audit)
        assert (stage.state, stage.detail) == ("stale", f"{file} was edited since")
        assert stage.command == f"histods remap --map {file} -w {space.folder}"
        file.unlink()
        assert edited_file(space, audit, "two") is None
    finally:
        file.write_text(MAP)


def test_latents_of_other_shards_are_stale_and_alone_they_are_done(space: Workspace) -> None:
    Made(space.latents, PLAIN)
    stage = latent_stage(space)
    assert (stage.state, stage.detail) == ("stale", "they were made from other shards")
    shutil.rmtree(space.shards)
    assert latent_stage(space).detail == "12 samples in 1 views"
    next(space.latents.glob("*.safetensors")).unlink()
    assert latent_stage(space).state == "stale"


def test_training_takes_the_map_of_the_workspace_and_asks_where_there_are_two(space: Workspace) -> None:
    audit = space.read_audit()
    found = training_map(space, audit, None)
    assert found is not None
    assert found.name == "two"
    for path in (space.folder / "remap").iterdir():
        path.rename(path.with_stem("other"))
    with pytest.raises(HistodsError, match="Choose one with --map two or --map other.$"):
        training_map(space, audit, None)
    assert training_map(space, audit, "two") is None  # that of the shards
