"""split.parquet is refused where it is stale or no split, and the check finds every leak that is planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from histods.dataset.manifest import SCHEMA, Manifest, write_table
from histods.errors import HistodsError, StaleFileError
from histods.io.atomic import file_digest, write_json
from histods.io.audit_summary import RecordedOptions
from histods.io.workspace import Workspace
from histods.splits.split_table import SplitOptions, check_split, read_any_split, read_split, write_split

OPTIONS = SplitOptions(test=0.1, val=0.0, folds=None, seed=0, keep=False)
SAMPLES: list[tuple[str, str, str | None, str | None]] = [
    # key, role, group, image digest
    ("a1", "conditional", "a", "1"),
    ("a2", "unconditional", "a", "2"),
    ("b1", "conditional", "b", "3"),
    ("b2", "conditional", "b", "2"),
    ("c", "unconditional", None, "4"),
    ("d", "unconditional", None, "4"),
    ("e", "excluded", "a", "4"),
]
SOUND = {"a1": "train", "a2": "train", "b1": "train", "b2": "train", "c": "test", "d": "test"}


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    space = Workspace(tmp_path / "out")
    write_audit(space, SAMPLES)
    return space


def write_audit(space: Workspace, samples: list[tuple[str, str, str | None, str | None]]) -> None:
    columns = ("key", "role", "group", "image_digest")
    rows = [dict(zip(columns, sample, strict=True)) for sample in samples]
    Manifest(pa.Table.from_pylist(rows, SCHEMA), {}).write(space.manifest)
    document = {
        "root": "/data",
        "options": {"pairs": None, "pairs_digest": None},
        "manifest_digest": file_digest(space.manifest),
    }
    write_json(space.audit, document)


def write(space: Workspace, rows: list[tuple[str, str]], options: SplitOptions = OPTIONS) -> None:
    table = pl.DataFrame(rows, schema=["key", "split"], orient="row")
    write_split(space, table, space.read_audit(), options)


def test_what_was_written_is_read_sorted_by_key_with_its_digest(space: Workspace) -> None:
    rows = list(SOUND.items())
    write(space, rows[::-1])
    found = read_split(space, space.read_audit().manifest_digest)
    assert found is not None
    table, digest = found
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows
    assert digest == file_digest(space.split)
    assert read_any_split(space)[1] == OPTIONS
    write(space, rows)
    assert file_digest(space.split) == digest


def test_without_a_split_there_is_nothing_to_read(space: Workspace) -> None:
    assert read_split(space, "0" * 64) is None


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (OPTIONS, "histods split --test 0.1 --seed 0"),
        (
            SplitOptions(test=0.2, val=0.05, folds=None, seed=7, keep=True),
            "histods split --test 0.2 --val 0.05 --seed 7 --keep",
        ),
        (SplitOptions(test=None, val=0.0, folds=5, seed=1, keep=False), "histods split --folds 5 --seed 1"),
        (
            SplitOptions(test=0.1, val=0.0, folds=None, seed=0, keep=False, group_regex="^([^_ ]+)"),
            "histods split --test 0.1 --seed 0 --group-regex '^([^_ ]+)'",
        ),
    ],
)
def test_a_split_of_another_manifest_is_refused_with_the_command_that_made_it(
    space: Workspace, options: SplitOptions, command: str
) -> None:
    write(space, list(SOUND.items()), options)
    write_audit(space, SAMPLES[:5])
    with pytest.raises(StaleFileError) as refused:
        read_split(space, space.read_audit().manifest_digest)
    assert str(refused.value) == (
        f"{space.split} was made from an earlier audit; run '{command} -w {space.folder}' again."
    )


def test_a_split_of_another_pairs_file_is_refused_though_the_manifest_is_the_same(space: Workspace) -> None:
    write(space, list(SOUND.items()))
    audit = space.read_audit()
    options = RecordedOptions(pairs="/pairs.csv", pairs_digest="f" * 64)
    write_json(space.audit, replace(audit, options=options).to_json())
    with pytest.raises(StaleFileError, match="was made from an earlier audit"):
        read_split(space, audit.manifest_digest)


def test_another_table_is_refused(space: Workspace) -> None:
    tables = {
        "no metadata": (pa.table({"key": ["a"], "split": ["train"]}), {}),
        "options of something else": (
            pa.table({"key": ["a"], "split": ["train"]}),
            {"schema_version": "1", "manifest_digest": "0", "pairs_digest": "", "options": '{"what": 1}'},
        ),
        "options that are no JSON": (pa.table({"key": ["a"], "split": ["train"]}), {"options": "{"}),
        "other columns": (
            pa.table({"key": ["a"], "side": ["train"]}),
            {
                "schema_version": "1",
                "manifest_digest": "0",
                "pairs_digest": "",
                "options": '{"test": 0.1, "val": 0.0, "folds": null, "seed": 0, "keep": false}',
            },
        ),
    }
    for table, metadata in tables.values():
        write_table(table, space.split, metadata)
        with pytest.raises(HistodsError) as refused:
            read_split(space, "0")
        assert str(refused.value) == (
            f"{space.split} is not a split of schema version 1; run 'histods split -w {space.folder}' again."
        )


def test_a_torn_split_is_refused(space: Workspace) -> None:
    write(space, list(SOUND.items()))
    whole = space.split.read_bytes()
    for length in (0, 4, len(whole) // 2, len(whole) - 1):
        space.split.write_bytes(whole[:length])
        with pytest.raises(HistodsError, match="cannot be read as Parquet"):
            read_split(space, "0")


def test_metadata_say_what_the_split_was_made_from(space: Workspace) -> None:
    write(space, list(SOUND.items()))
    stored = {key.decode(): value.decode() for key, value in pq.read_metadata(space.split).metadata.items()}
    stored.pop("ARROW:schema")
    assert stored == {
        "schema_version": "1",
        "manifest_digest": file_digest(space.manifest),
        "pairs_digest": "",
        "options": '{"folds": null, "keep": false, "seed": 0, "test": 0.1, "val": 0.0}',
    }


# The check


def test_a_sound_split_is_sound(space: Workspace) -> None:
    write(space, list(SOUND.items()))
    check = check_split(space)
    assert check.sound
    assert (check.samples, check.groups, check.duplicates) == (6, 2, 2)
    assert check.sizes == {"test": (0, 2), "train": (3, 1)}


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ({**SOUND, "a2": "test", "b2": "test"}, {"straddling_groups": 2}),
        ({**SOUND, "d": "train"}, {"straddling_duplicates": 1}),
        ({**SOUND, "b1": "test", "b2": "test"}, {"straddling_duplicates": 1}),
        ({key: side for key, side in SOUND.items() if key not in ("a1", "c")}, {"missing": 2}),
        ({**SOUND, "e": "train"}, {"unknown": 1}),
        ({**SOUND, "z": "train"}, {"unknown": 1}),
        ({}, {"missing": 6}),
    ],
)
def test_every_planted_leak_is_counted(space: Workspace, rows: dict[str, str], wrong: dict[str, int]) -> None:
    write(space, list(rows.items()))
    check = check_split(space)
    counted = ("missing", "doubled", "unknown", "straddling_groups", "straddling_duplicates")
    assert {name: getattr(check, name) for name in counted} == dict.fromkeys(counted, 0) | wrong
    assert not check.sound


def test_a_doubled_key_is_counted_even_on_one_side(space: Workspace) -> None:
    write(space, [*SOUND.items(), ("c", "test")])
    check = check_split(space)
    assert (check.doubled, check.sound) == (1, False)


def test_duplicates_are_not_claimed_where_images_have_no_digests(space: Workspace) -> None:
    write_audit(space, [(key, role, group, None) for key, role, group, _ in SAMPLES])
    write(space, list(SOUND.items()))
    check = check_split(space)
    assert check.duplicates is None
    assert check.sound
