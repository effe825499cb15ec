"""A workspace that somebody sent: whatever its files say, commands refuse it in one line or do what they should.

Nothing outside the dataset, the workspace and the folders that were named is read, moved, changed or removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from histods import audit, fix, remap, shard, split, status
from histods.dataset.manifest import Manifest
from histods.engines import Done, Engine
from histods.errors import HistodsError
from histods.io.atomic import file_digest
from histods.io.workspace import Workspace
from histods.shards.images.reader import ShardReader
from reports import report
from reports.class_table import read_systems
from tests.in_process import Here

JSON_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**60, 2**64, 10**400, 1e300, float("nan"), "", "x", "\0", "a\nb", [], {}),
    *("..", "../../sentinel", "../../sentinel/keep", "/etc/passwd", "{sentinel}", "{sentinel}/keep.parquet"),
    *(["../../sentinel/keep"], {"x": -1}, [[]], "\udcff", "x" * 5000),
)


class OneByOne(Engine):
    """Runs work where it is called; an error of it is an error of the test."""

    def __init__(self) -> None:
        super().__init__(Here())

    def warm_up(self, work: object) -> None: ...

    def run(self, work: Any, chunks: Any) -> Iterator[Any]:
        for chunk in chunks:
            yield Done(chunk, work(chunk))


@dataclass(frozen=True)
class Sent:
    """A folder with a dataset, a workspace in which every step was done, and files that nobody may touch."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def copy(self, to: Path) -> Sent:
        """The same elsewhere; the workspace is told where its dataset is now."""
        shutil.copytree(self.folder, to, symlinks=True)
        for path in [*to.rglob("*.json"), *to.rglob("*.jsonl")]:
            path.write_text(path.read_text().replace(str(self.folder), str(to)))
        for path in to.rglob("*.jsonl"):
            seal(path)
        return Sent(to)


def seal(journal: Path) -> None:
    """Give a journal the digest of what it holds: whoever writes one can do so, too."""
    lines = journal.read_bytes().splitlines(keepends=True)
    at = next(place for place, line in enumerate(lines) if line.startswith(b'{"digest"'))
    digest = xxhash.xxh3_64_hexdigest(b"".join(lines[:at]))
    journal.write_bytes(b"".join([*lines[:at], json.dumps({"digest": digest}).encode() + b"\n", *lines[at + 1 :]]))


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    found = Sent(tmp_path_factory.mktemp("sent") / "one")
    found.root.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(12):
        folder = found.root / f"slide{number % 3}"
        folder.mkdir(exist_ok=True)
        image = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"x{number}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[4:, : number % 4] = 1 + number % 2
        Image.fromarray(mask).save(folder / f"x{number}_mask.png")
    audit(found.root, workspace=found.out, workers=1, group_regex=r"^(slide\d)")
    fix("zero_mask", to=found.folder / "free", apply=True, workspace=found.out)
    audit(found.root, workspace=found.out, workers=1, group_regex=r"^(slide\d)")
    remap(workspace=found.out)
    split(workspace=found.out, test=0.3)
    shard(workspace=found.out, workers=1)
    (found.folder / "sentinel").mkdir()
    for name in ("keep", "keep.parquet", "keep.tar", "keep.png"):
        (found.folder / "sentinel" / name).write_bytes(b"nobody's business")
    return found


def sentinel(folder: Path) -> list[tuple[str, bytes, int]]:
    files = sorted((folder / "sentinel").iterdir())
    return [(path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in files]


STEPS: dict[str, Callable[[Sent], object]] = {
    "audit": lambda sent: audit(sent.root, workspace=sent.out, group_regex=r"^(slide\d)"),
    "remap": lambda sent: remap(workspace=sent.out, write_masks=sent.folder / "masks"),
    "split": lambda sent: split(workspace=sent.out, test=0.3, keep=True),
    "shard": lambda sent: shard(workspace=sent.out),
    "verify": lambda sent: shard(workspace=sent.out, verify=True),
    "read": lambda sent: read_all(sent.out / "shards"),
    "charts": lambda sent: read_systems(Workspace(sent.out)),
    "page": lambda sent: report(sent.out, out=sent.folder / "page.html"),
    "status": lambda sent: status(sent.out),
    "plan a fix": lambda sent: fix("constant_mask", to=sent.folder / "moved", workspace=sent.out),
    "undo": lambda sent: fix(undo=sent.out / "fixes" / "zero_mask-1.jsonl"),
}


def read_all(folder: Path) -> None:
    reader = ShardReader(folder)
    for sample in range(len(reader)):
        reader.read(sample)
        reader.key(sample)
    reader.lists.bounds.sum()


def run(sent: Sent, names: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run steps; what they refuse, in one line each. Any other error is an error of the test."""
    for module in ("steps.audit", "masks.writing_job", "steps.shard"):
        monkeypatch.setattr(f"histods.{module}.engine_for", lambda *_: OneByOne())
    before = sentinel(sent.folder)
    refused = []
    for name in names:
        try:
            STEPS[name](sent)
        except HistodsError as error:
            refused.append(str(error))
            assert "\n" not in str(error).replace("a\nb", ""), error
        assert sentinel(sent.folder) == before, name
    return refused


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value of a JSON document is, itself included."""
    yield path
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document[:2]):
            yield from places(value, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a place."""
    if not path:
        return value
    copied = document.copy()
    copied[path[0]] = changed(document[path[0]], path[1:], value)
    return copied


FILES = {
    "audit.json": ["audit", "remap", "split", "shard", "plan a fix", "page", "status"],
    "shards/shards.json": ["verify", "read", "shard", "page"],
    "shards/unfinished.json": ["shard"],
}


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_a_json_file_may_be_another(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clean = sent.copy(tmp_path / "clean")
    (clean.out / "shards" / "unfinished.json").write_text('{"shards": ["train-00000", "train-00001"]}')
    document = json.loads((clean.out / name).read_text())
    random = np.random.default_rng(0)
    for place in places(document):
        # Every place gets one of the values, and each value comes to several places; all pairs would take minutes.
        for value in random.choice(len(JSON_VALUES), 1):
            other = JSON_VALUES[value]
            if isinstance(other, str):
                other = other.replace("{sentinel}", str(tmp_path / "case" / "sentinel"))
            case = clean.copy(tmp_path / "case")
            (case.out / name).write_text(json.dumps(changed(document, place, other)).replace("/clean/", "/case/"))
            # All steps read the file by the same function: two of them show what they do with the values.
            run(case, [str(step) for step in random.permutation(FILES[name])[:2]], monkeypatch)
            shutil.rmtree(case.folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", "[" * 100_000, '{"root": 1' + "0" * 5000 + "}", "\xff", "{"]
)
@pytest.mark.parametrize("name", FILES)
def test_no_document_at_all_is_refused_in_one_line(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    case = sent.copy(tmp_path / "case")
    (case.out / name).write_bytes(text.encode("latin-1"))
    # The page and the status show what can be read, and say what cannot.
    steps = [step for step in FILES[name] if step not in ("audit", "split", "page", "status")]
    assert len(run(case, steps, monkeypatch)) == len(steps)


ELSEWHERE = [
    "../sentinel/keep.png",
    "/etc/passwd",
    "slide0/../../sentinel/keep.png",
    "a\0b",
    "",
    ".",
    "slide0//x0.png",
]


def rewrite(path: Path, **columns: Callable[[Any], Any]) -> None:
    """Change the first value of columns of a Parquet file."""
    table = pq.read_table(path)
    for name, change in columns.items():
        values = table[name].to_pylist()
        values[0] = change(values[0])
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)


def sign(out: Path) -> None:
    """Write the digests of all files into the descriptions, as a forger would."""
    for file, digests in (
        (out / "audit.json", {"manifest_digest": out / "manifest.parquet"}),
        (out / "shards" / "shards.json", {"index_digest": out / "shards" / "index.parquet"}),
    ):
        document = json.loads(file.read_text())
        document |= {name: file_digest(path) for name, path in digests.items()}
        file.write_text(json.dumps(document))


@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("column", ["image_path", "mask_path", "key"])
def test_a_manifest_names_files_of_its_dataset_alone(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, path: str
) -> None:
    case = sent.copy(tmp_path / "case")
    rewrite(case.out / "manifest.parquet", **{column: lambda _: path})
    sign(case.out)
    (line, *_) = run(case, ["remap", "shard", "plan a fix"], monkeypatch)
    assert "has paths or numbers that no dataset has" in line
    assert not run(case, ["page"], monkeypatch)


def test_a_link_that_leads_out_of_the_dataset_is_not_followed_later(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, behind in enumerate(["file", "folder"]):
        case = sent.copy(tmp_path / f"case{number}")
        shutil.rmtree(case.out / "shards")
        row = next(
            row for row in Manifest.read(case.out / "manifest.parquet").table.to_pylist() if row["labels"][1:]
        )
        place = case.root / (row["mask_path"] if behind == "file" else row["mask_path"].split("/")[0])
        shutil.move(place, case.folder / "elsewhere")
        place.symlink_to(case.folder / "elsewhere")
        lines = run(case, ["remap", "shard"], monkeypatch)
        assert len(lines) == 2
        assert all("link" in line and "out of" in line for line in lines), lines


NUMBERS = [-1, 2**40, 2**60, 2**63 - 1]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("column", ["image_offset", "image_bytes", "mask_offset", "mask_bytes"])
def test_numbers_of_an_index_are_checked_before_they_are_used(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, number: int
) -> None:
    case = sent.copy(tmp_path / "case")
    rewrite(case.out / "shards" / "index.parquet", **{column: lambda _: number})
    sign(case.out)
    lines = run(case, ["read", "verify"], monkeypatch)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("column", "value"), [("shard", "../sentinel/keep"), ("shard", "other"), ("classes", [999])]
)
def test_an_index_names_shards_and_classes_that_there_are(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: Any
) -> None:
    case = sent.copy(tmp_path / "case")
    rewrite(case.out / "shards" / "index.parquet", **{column: lambda _: value})
    sign(case.out)
    (line, *_) = run(case, ["read", "verify"], monkeypatch)
    assert "index.parquet does not say where the samples of its shards are" in line


@pytest.mark.parametrize("kind", ["text", "fewer", "more columns"])
def test_an_index_of_another_form_is_refused(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    case = sent.copy(tmp_path / "case")
    path = case.out / "shards" / "index.parquet"
    table = pq.read_table(path)
    if kind == "text":
        place = table.schema.get_field_index("image_offset")
        table = table.set_column(place, "image_offset", table["image_offset"].cast(pa.string()))
    table = table.slice(1) if kind == "fewer" else table
    table = table.append_column("more", table["key"]) if kind == "more columns" else table
    pq.write_table(table, path)
    sign(case.out)
    assert len(run(case, ["read", "verify"], monkeypatch)) == 2


@pytest.mark.parametrize("name", ["manifest.parquet", "shards/index.parquet", "split.parquet"])
def test_a_small_file_of_a_billion_rows_is_not_unpacked(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case = sent.copy(tmp_path / "case")
    path = case.out / name
    row = pq.read_table(path).slice(0, 1)
    schema = row.schema.with_metadata(pq.read_table(path).schema.metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        block = pa.concat_tables([row] * 1000).combine_chunks()
        block = pa.concat_tables([block] * 1000).combine_chunks()
        for _ in range(3):
            writer.write_table(block, row_group_size=len(block))
    sign(case.out)
    lines = run(case, ["plan a fix", "read", "shard"], monkeypatch)
    assert any("3,000,000 rows" in line or "not an index" in line for line in lines), lines


@pytest.mark.parametrize("kind", ["records", "samples", "bounds"])
@pytest.mark.parametrize("damage", ["empty", "text", "float", "long", "huge"])
def test_arrays_beside_an_index_are_checked(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, damage: str
) -> None:
    case = sent.copy(tmp_path / "case")
    read_all(case.out / "shards")
    (path,) = (case.out / "shards" / ".lookup").glob(f"*/{kind}.npy")
    array = np.load(path)
    if damage == "huge":
        array = array.copy()
        array[:] = np.frombuffer(b"\xff" * array.nbytes, array.dtype)
    others = {"float": array.view(np.uint8).astype(np.float64), "long": np.concatenate([array, array])}
    if damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"not an array")
    else:
        np.save(path, others.get(damage, array))
    lines = run(case, ["read"], monkeypatch)
    assert lines or (kind, damage) in (("samples", "huge"), ("samples", "long")), (
        "what lists hold is asked for later"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("source", value)
            for value in ("{folder}/sentinel/keep", "/etc/passwd", "x", "{root}/../sentinel/keep")
        ),
        *(("target", value) for value in ("{folder}/sentinel/keep", "/etc/passwd", "x", "{to}/../sentinel/keep")),
        *(("source", value) for value in ("{root}/a\0b", 7, None, ["x"], "{root}", "{root}/")),
        *((name, value) for name in ("bytes", "mtime_ns") for value in ("1", -1, 2**70, None, 1.5)),
        *(("root", value) for value in ("/", "", "x", "{folder}/sentinel", "{root}/..", 7, None)),
        *(("to", value) for value in ("/", "", "x", "{folder}/sentinel", "{root}", "{root}/x", None)),
        *(("created", value) for value in (["{folder}/sentinel"], ["/etc"], "x", [7], ["{to}/../sentinel"])),
        *(
            ("touched", value)
            for value in ({"{folder}/sentinel": 0}, {"/etc": 0}, list[Any](), {"{root}": "x"}, {"x": 1})
        ),
        *(("moves", value) for value in (-1, 0, 10**9, "x", None)),
        *(("version", value) for value in (2, "1", None)),
        *(("samples", value) for value in ("x", None, list[Any]())),
        *(("fix", value) for value in (7, None, list[Any]())),
    ],
)
def test_a_journal_moves_files_between_its_two_places_alone(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any
) -> None:
    case = sent.copy(tmp_path / "case")
    journal = case.out / "fixes" / "zero_mask-1.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    at = 1 if field in ("source", "target", "bytes", "mtime_ns") else 0
    known = {"{folder}": str(case.folder), "{root}": str(case.root), "{to}": lines[0]["to"]}

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            for name, text in known.items():
                value = value.replace(name, text)
            return value
        if isinstance(value, dict):
            return {filled(key): one for key, one in value.items()}
        return [filled(one) for one in value] if isinstance(value, list) else value

    lines[at][field] = filled(value)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seal(journal)
    before = sorted(os.walk(case.folder / "data")), sorted(os.walk(case.folder / "free"))
    assert len(run(case, ["undo"], monkeypatch)) == 1
    assert (sorted(os.walk(case.folder / "data")), sorted(os.walk(case.folder / "free"))) == before


def test_a_journal_that_was_not_touched_is_undone(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = sent.copy(tmp_path / "case")
    assert run(case, ["undo"], monkeypatch) == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_journal_does_not_move_through_a_link(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    case = sent.copy(tmp_path / "case")
    journal = case.out / "fixes" / "zero_mask-1.jsonl"
    move = json.loads(journal.read_text().splitlines()[1])
    folder = Path(move[side]).parent
    shutil.move(folder, case.folder / "elsewhere")
    folder.symlink_to(case.folder / "elsewhere")
    (line,) = run(case, ["undo"], monkeypatch)
    assert "in which a link leads elsewhere" in line


def test_shards_are_not_cleared_through_a_link(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = sent.copy(tmp_path / "case")
    (case.out / "shards" / "parts").symlink_to(case.folder / "sentinel")
    (line,) = run(case, ["shard"], monkeypatch)
    assert line.endswith("/parts is a link, not a folder of this command; remove it.")


FRACTION = st.floats(0, 1, exclude_max=True)


@given(
    which=FRACTION,
    changes=st.lists(st.tuples(FRACTION, st.integers(0, 255)), max_size=4),
    length=st.one_of(st.just(1.0), FRACTION),
    forged=st.booleans(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_any_file_may_be_others(
    sent: Sent,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    which: float,
    changes: list[tuple[float, int]],
    length: float,
    forged: bool,
) -> None:
    case = sent.copy(tmp_path_factory.mktemp("bytes") / "case")
    files = sorted(path for path in case.out.rglob("*") if path.is_file() and path.suffix != ".tar")
    path = files[int(which * len(files))]
    content = bytearray(path.read_bytes())
    for place, value in changes if content else ():
        content[int(place * len(content))] = value
    path.write_bytes(content[: int(length * len(content))])
    if forged:
        with suppress(ValueError, TypeError, AttributeError):
            sign(case.out)
    run(case, ["remap", "read", "verify", "plan a fix", "undo", "charts", "split", "shard"], monkeypatch)
    shutil.rmtree(case.folder)
