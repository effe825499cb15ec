"""split as a command, on real images: its lines, documents and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods import HistodsError, audit, shard, split
from histods.cli.commands.split import to_document
from histods.dataset.manifest import read_table
from histods.io.atomic import file_digest, write_json
from histods.io.workspace import Workspace
from histods.splits.split_table import SplitOptions, read_any_split
from tests.commands import histods
from tests.histods.steps.split_sites import Sample, Site


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images of five slides, with a pairs file that gives some sides, and two images of the same bytes."""
    root = tmp_path_factory.mktemp("real") / "data"
    root.mkdir()
    lines = ["image,mask,split"]
    for number in range(40):
        name = f"s{number % 5}_{number:02d}"
        shade = 3 if number == 8 else number  # s3_03 and s3_08 are the same
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(root / f"{name}.png")
        Image.fromarray(np.full((8, 8), number % 3, np.uint8)).save(root / f"{name}_mask.png")
        lines.append(f"{name}.png,{name}_mask.png,{'test' if number == 4 else ''}")
    (root.parent / "pairs.csv").write_text("\n".join(lines))
    return root


def test_the_command_prints_what_it_did_in_80_columns(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    audit(dataset, workspace=space.folder, group_regex=r"^(s\d)", hash=True, workers=1)
    result = histods("split", "--test", "0.2", "-w", space.folder)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("      /")) <= 80
    assert lines[:5] == [
        "Pixels of each label, %",
        "label name pixels train test",
        "0 label 0 896 78.57 21.43",
        "1 label 1 832 76.92 23.08",
        "2 label 2 832 84.62 15.38",
    ]
    first = lines.index("Split")
    assert lines[first : first + 5] == [
        "Split",
        "split conditional unconditional samples % target %",
        "train 21 11 32 80.00 80.00",
        "test 5 3 8 20.00 20.00",
        "",
    ]
    assert any(line.startswith("Next:") for line in lines[-4:])
    text = " ".join(lines)
    assert "Checked: 0 of 5 groups and 0 of 1 sets of duplicates are in more than one split; " in text
    assert "each of 40 samples is in exactly one split." in text
    assert "warning" not in text
    assert f"Written: {space.split}".replace(" ", "") in result.stdout.replace("\n", "").replace(" ", "")


def test_the_command_says_what_it_could_not_look_for(dataset: Path, tmp_path: Path) -> None:
    audit(dataset, workspace=tmp_path, workers=1)
    result = histods("split", "--folds", "6", "--seed", "2", "-w", tmp_path)
    text = " ".join(result.stdout.split())
    assert (
        "warning: no groups are known, so patches of one slide may be in several splits; give groups with" in text
    )
    assert "'histods split --group-regex', or in the pairs file of the audit." in text
    again = f"Duplicates were not looked for: run 'histods audit {dataset} -w {tmp_path} --hash' first."
    assert again.replace(" ", "") in text.replace(" ", "")
    assert "Checked: each of 40 samples is in exactly one split." in text
    assert "lowest highest" in text


def test_sides_of_a_real_pairs_file_are_honoured_and_noted(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    pairs = dataset.parent / "pairs.csv"
    result = audit(dataset, workspace=space.folder, pairs=pairs, group_regex=r"^(s\d)", workers=1)
    assert result.options.pairs == str(pairs.resolve())
    assert result.options.pairs_digest == file_digest(pairs)
    assert audit(dataset, workspace=space.folder, pairs=pairs, group_regex=r"^(s\d)").options == result.options
    command = histods("split", "--json", "-q", "-w", space.folder)
    document = json.loads(command.stdout)
    assert command.stderr == ""
    assert document["samples"] == {
        "assigned": 32,
        "given": 1,
        "kept": 0,
        "followed": 7,
        "excluded": 0,
        "without_group": 0,
    }
    assert document["splits"]["test"]["samples"] == 8
    assert document["splits"]["test"]["target_percent"] == 10.0
    assert document["check"]["groups_in_several_splits"] == 0
    sides = read_table(space.split).to_pydict()
    assert {k for k, side in zip(sides["key"], sides["split"], strict=True) if side == "test"} == {
        f"s4_{number:02d}" for number in range(4, 40, 5)
    }
    kept = histods("split", "-w", space.folder, "--keep").stdout
    assert "39 samples stay where they were." in kept
    assert "Every sample already had its split, so that --test and --val were not used." in " ".join(kept.split())


def test_the_command_and_the_function_write_the_same(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    audit(dataset, workspace=space.folder, workers=1)
    arguments = ("--test", "0.3", "--val", "0.2", "--seed", "11")
    document = json.loads(histods("split", *arguments, "--json", "-w", space.folder).stdout)
    written = space.split.read_bytes()
    result = split(workspace=space.folder, test=0.3, val=0.2, seed=11)
    assert space.split.read_bytes() == written
    assert json.loads(json.dumps(to_document(result))) == document
    assert result.options == SplitOptions(test=0.3, val=0.2, folds=None, seed=11, keep=False)


def test_a_wrong_call_is_one_line_and_status_2(dataset: Path, tmp_path: Path) -> None:
    audit(dataset, workspace=tmp_path, workers=1)
    for arguments, line in (
        (
            ("--folds", "5", "--test", "0.1"),
            "--folds does not go together with --test or --val, because every fold is",
        ),
        (("--test", "1.5"), "--test 1.5 is not between 0 and 1; 0.1 is a tenth."),
        (
            ("--keep",),
            f"There is no {tmp_path}/split.parquet yet for --keep; leave --keep out the first time.",
        ),
    ):
        result = histods("split", *arguments, "-w", tmp_path)
        assert result.returncode == 2
        assert result.stderr.startswith(f"histods: {line}")
        assert result.stderr.count("\n") == 1


def test_a_hundred_labels_with_long_names_fit_and_the_rest_is_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    samples = [
        Sample(key=f"k{i:03d}", pixels={int(label): 10**8 for label in random.integers(0, 100, 4)})
        for i in range(300)
    ]
    site = Site(tmp_path, samples)
    names = tmp_path / "labels.yml"
    names.write_text("labels:\n" + "".join(f"  {i}: {{name: {'tissue ' * 12}{i}}}\n" for i in range(100)))
    document = json.loads(site.space.audit.read_text())
    document["options"]["labels"] = str(names)
    write_json(site.space.audit, document)
    for options in (("--val", "0.1"), ("--folds", "4"), ("--folds", "12")):
        result = histods("split", *options, "-w", site.space.folder)
        assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("      /")) <= 80
        table = result.stdout.partition("warning:")[0]
        assert len([line for line in table.splitlines() if "tissue" in line]) == 20
        assert "and 80 more labels, which are nearer to the target, with --json" in result.stdout


def test_groups_come_from_the_keys_without_a_new_audit(dataset: Path, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    audit(dataset, workspace=space.folder, workers=1)
    result = histods("split", "--test", "0.2", "--group-regex", r"^(s[1-4])", "-w", space.folder)
    assert result.returncode == 0
    text = " ".join(result.stdout.split())
    assert "Groups of the first keys group key (none) s0_00 (none) s0_05" in text
    assert "warning: 8 of 40 keys do not match --group-regex; each is taken for a slide of its own." in text
    assert "Checked: 0 of 4 groups are in more than one split;" in text
    again = split(workspace=space.folder, test=0.2, group_regex=r"^(s\d)")
    assert (again.ungrouped, again.check.groups) == (0, 5)
    assert again.groups[0] == ("s0_00", "s0")
    table, options = read_any_split(space)
    assert options.group_regex == r"^(s\d)"
    assert options.command == r"histods split --test 0.2 --seed 0 --group-regex '^(s\d)'"
    sides = dict(zip(*table.to_pydict().values(), strict=True))
    assert all(len({side for key, side in sides.items() if key[:2] == slide}) == 1 for slide in ("s0", "s1", "s2"))
    whole = shard(workspace=space.folder, workers=1)
    groups = read_table(whole.folder / "index.parquet").select(["key", "group"]).to_pylist()
    assert {(row["key"][:2], row["group"]) for row in groups} == {(f"s{number}",) * 2 for number in range(5)}


@pytest.mark.parametrize("expression", ["(a", "(a)(b)"])
def test_a_wrong_expression_is_refused_before_anything_is_read(tmp_path: Path, expression: str) -> None:
    with pytest.raises(HistodsError, match=re.escape(f"--group-regex {expression!r}")):
        split(workspace=tmp_path / "nothing", group_regex=expression)
    with pytest.raises(HistodsError, match=re.escape(f"--group-regex {expression!r}")):
        audit(tmp_path, workspace=tmp_path.parent / "out", group_regex=expression)


def test_groups_of_the_keys_take_the_place_of_the_audits(tmp_path: Path) -> None:
    samples = [Sample(key=f"s{n % 4}_{n}", group="all") for n in range(16)]
    site = Site(tmp_path, samples)
    with pytest.raises(HistodsError, match="only 1 to share out"):
        site.split(test=0.25)
    result = site.split(test=0.25, group_regex="^(s.)_")
    assert (result.check.groups, result.check.straddling_groups) == (4, 0)


def test_a_seed_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistodsError, match=r"--seed 9223372036854775808 has more than 64 bits"):
        split(workspace=tmp_path, seed=1 << 63)
