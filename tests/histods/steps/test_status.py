"""`status`: what a workspace has, what is out of date, and the next command, after each step of the work."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from histods import audit, fix, remap, shard, split, status
from histods.io.workspace import Workspace
from histods.synthetic import make_demo
from tests.commands import histods

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Site


def states(workspace: Path) -> dict[str, str]:
    return {part.name: part.state for part in status(workspace).parts}


def test_each_step_makes_its_part_done_and_names_the_next(site: Site) -> None:
    option = f" -w {site.workspace}"
    assert states(site.workspace) == {
        "dataset": "done", "audit": "done", "label map": "missing", "split": "missing", "shards": "missing",
    }  # fmt: skip
    assert status(site.workspace).next == f"histods remap --draft my_map.yml{option}"
    remap(workspace=site.workspace, map=site.map)
    assert states(site.workspace)["label map three"] == "done"
    assert status(site.workspace).next == f"histods train{option}"
    split(workspace=site.workspace)
    shard(workspace=site.workspace, workers=1)
    assert set(states(site.workspace).values()) == {"done"}
    split(workspace=site.workspace, seed=1)
    assert states(site.workspace)["shards"] == "stale"
    next(iter(site.images.values())).unlink()
    audit(site.root, workspace=site.workspace, allow_unpaired=True, workers=1)
    assert {name for name, state in states(site.workspace).items() if state == "stale"} == {
        "label map three", "split", "shards",
    }  # fmt: skip
    assert status(site.workspace).next == f"histods remap --map three{option}"


def test_a_dataset_that_is_gone_is_said(site: Site) -> None:
    site.root.rename(site.root.with_name("elsewhere"))
    assert states(site.workspace)["dataset"] == "missing"
    assert status(site.workspace).next.startswith("histods audit")


def test_shards_that_were_copied_without_an_audit_are_enough_to_train(site: Site, tmp_path: Path) -> None:
    shard(workspace=site.workspace, map=site.map, workers=1)
    alone = tmp_path / "copied"
    alone.mkdir()
    (site.workspace / "shards").rename(alone / "shards")
    assert states(alone) == {"audit": "missing", "shards": "done"}
    assert status(alone).next == f"histods train -w {alone}"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"run": 1}', "run: {steps: many}", "run: {steps: 10}"],
    ids=["empty", "list", "nothing", "number", "text", "no checkpoint"],
)
def test_a_damaged_run_is_unfinished_and_never_ends_the_command(site: Site, content: str) -> None:
    run = site.workspace / "runs" / "broken"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(content)
    assert states(site.workspace)["run broken"] == "missing"


@pytest.mark.parametrize("name", ["split.parquet", "shards/shards.json", "remap/three.json", "audit.json"])
def test_damaged_files_are_out_of_date(site: Site, name: str) -> None:
    remap(workspace=site.workspace, map=site.map)
    split(workspace=site.workspace)
    shard(workspace=site.workspace, workers=1)
    (site.workspace / name).write_bytes(b"{}")
    assert "stale" in states(site.workspace).values()


def test_histods_alone_shows_the_workspace_and_the_command_prints_json(site: Site) -> None:
    def run(*words: str) -> str:
        result = histods(*words, env={**os.environ, "HISTODS_WORKSPACE": str(site.workspace)})
        assert result.returncode == 0
        return result.stdout

    shown = run()
    assert shown == run("status")
    assert shown.splitlines()[-1] == "Next: histods remap --draft my_map.yml"
    document = json.loads(run("status", "--json"))
    assert document["next"] == "histods remap --draft my_map.yml"
    assert document["parts"][0]["name"] == "dataset"


def test_files_that_a_fix_moved_make_the_audit_out_of_date(site: Site, tmp_path: Path) -> None:
    fix("zero_mask", to=tmp_path / "moved", workspace=site.workspace, apply=True)
    assert states(site.workspace)["audit"] == "stale"
    assert status(site.workspace).next.startswith("histods audit")


def test_a_run_is_out_of_date_when_what_it_was_made_from_is(site: Site) -> None:
    remap(workspace=site.workspace, map=site.map)
    split(workspace=site.workspace)
    shard(workspace=site.workspace, workers=1)
    run = site.workspace / "runs" / "default"
    state = {"step": 3, "index_digest": "", "map_digest": remap(workspace=site.workspace, map="three").map_digest}
    (run / "checkpoints" / "step-3").mkdir(parents=True)
    (run / "config.yaml").write_text("run: {steps: 3}\n")
    (run / "checkpoints" / "latest").write_text("step-3")
    (run / "checkpoints" / "step-3" / "state.json").write_text(json.dumps(state))
    option = f" -w {site.workspace}"
    assert status(site.workspace).next == f"histods sample --run default --masks MASKS --map three{option}"
    split(workspace=site.workspace, seed=1)
    assert states(site.workspace)["run default"] == "stale"
    assert status(site.workspace).next == f"histods train --name NEW{option}"
    site.map.write_text(site.map.read_text().replace("Stroma", "Necrosis"))
    assert status(site.workspace).next == f"histods remap --map {site.map}{option}"


def test_a_run_of_masks_is_not_sampled_from_like_one_of_images(site: Site) -> None:
    """What it is taken from is its configuration."""
    runs = Workspace(site.workspace).runs
    for name, what in (("default", "images"), ("masks", "masks")):
        checkpoint = runs / name / "checkpoints" / "step-00000002"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (runs / name / "config.yaml").write_text(f"data: {{what: {what}}}\nrun: {{steps: 2}}\n")
        (checkpoint.parent / "latest").write_text("step-00000002\n")
        (checkpoint / "state.json").write_text('{"step": 2}')
    found = status(site.workspace)
    commands = {part.name: part.command for part in found.parts if part.name.startswith("run ")}
    assert commands["run masks"].startswith("histods train --what masks -w")
    assert found.next.startswith("histods sample --run default --masks MASKS"), found.next


def test_a_label_map_beside_the_images_is_what_comes_next_for_audit_and_status_alike(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_demo(root, size=128)
    (root / "label_map_ten.yml").write_text("A: [0]\nB: [1-9999]\n")
    shown = histods("audit", root, "-w", tmp_path / "out", "--fail-on", "never").stdout
    expected = f"histods remap --map label_map_ten.yml -w {tmp_path / 'out'}"
    assert expected in " ".join(shown.replace("\\\n", "").split())
    assert status(tmp_path / "out").next == expected


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ("run: {steps: .inf}", '{"step": 1, "index_digest": "x"}'),
        ("run: {steps: 3}", '{"step": Infinity, "index_digest": "x"}'),
        ("run: {steps: 3}", "[" * 100_000),
        ("[" * 1000, '{"step": 1, "index_digest": "x"}'),
    ],
    ids=["steps", "step", "deep-state", "deep-config"],
)
def test_a_run_whose_files_say_nonsense_has_no_checkpoint_yet(tmp_path: Path, config: str, state: str) -> None:
    checkpoint = tmp_path / "runs" / "other" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (tmp_path / "runs" / "other" / "config.yaml").write_text(config)
    (checkpoint.parent / "latest").write_text(checkpoint.name)
    (checkpoint / "state.json").write_text(state)
    (run,) = (part for part in status(tmp_path).parts if part.name == "run other")
    assert (run.state, run.detail) == ("missing", "no checkpoint yet")
