"""fix --repair writes what it says and nothing else; a repaired dataset lacks the finding; all can be undone."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from histods import fix, remedies
from histods.images.reader import decode_mask
from histods.remedies import base, narrow
from histods.remedies.orientation import UNDECIDED
from histods.remedies.palette import CONTESTED
from histods.repairs import run
from histods.repairs.choose import ALONE, NAMED_IN_CSV, TAKEN, UNPAIRED
from tests.commands import histods
from tests.histods.remedies.planted import COLOURS, as_colours, as_palette, regions, tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    Tree = dict[str, tuple[bytes | None, int, int]]

from tests.histods.steps.repaired import (
    LABELS,
    PLANTED,
    audit_state,
    fix_undo,
    line,
    look,
    make,
    mend,
    tree,
    truth,
    write_image,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", PLANTED["wide_mask"])


# Every remedy, from the audit to the audit.


@pytest.mark.parametrize("code", PLANTED)
def test_planted_masks_are_repaired_to_their_truth_and_restored(tmp_path: Path, code: str) -> None:
    root = make(tmp_path / "data", PLANTED[code])
    labels = tmp_path / "labels.yml"
    labels.write_text(LABELS)
    first, before = look(root), tree(root)
    options = {"labels": labels} if code == "not_an_index_mask" else {}
    result = mend(root, code, **options)
    assert (result.state, result.files_changed, result.refused) == ("repaired", 3, ())
    after = look(root)
    assert after.files_read == 3  # what changed, and nothing else
    kinds = set(after.manifest.to_polars()["mask_kind"])
    assert kinds == {"gray8"}
    assert not any(entry.code == code for entry in after.iter_findings())
    masks = sorted(root.rglob("*_mask.png"), key=lambda path: path.stem.removesuffix("_mask")[-1])
    for number, path in enumerate(masks):
        assert np.array_equal(decode_mask(path.read_bytes()).labels, truth(number))
    assert (root / "a0_mask.png").stat().st_mode & 0o777 == 0o640
    undone = fix_undo(result)
    assert (undone.state, undone.files_changed) == ("undone", 3)
    assert tree(root) == before
    assert look(root).findings == first.findings
    assert not (tmp_path / "out" / "fixes" / f"{code}-1").exists()


def test_equal_channels_stay_in_a_dataset_with_colours(tmp_path: Path) -> None:
    root = make(tmp_path / "data", PLANTED["not_an_index_mask"])
    Image.fromarray(as_colours(truth(4), {1: (255, 255, 255)})).save(root / "e4_mask.png")
    look(root)
    result = mend(root, "rgb")
    assert not result.files
    reasons = {path: one.reason for one in result.refused for path, _ in one.files}
    assert "--labels FILE" in reasons["e4_mask.png"]


def test_palettes_that_contradict_each_other_are_not_hidden_in_greys(tmp_path: Path) -> None:
    root = make(tmp_path / "data", as_palette)
    black, red, green, blue = COLOURS.values()
    as_palette(truth(4), [black, green, red, blue]).save(root / "e4_mask.png")
    assert look(root).findings["palettes_differ"]
    refused = mend(root, "palette").refused
    assert [(one.reason, len(one.files)) for one in refused] == [(CONTESTED, 4)]
    labels = tmp_path / "labels.yml"
    labels.write_text(LABELS)
    mend(root, "palettes_differ", labels=labels)
    swapped = np.array([0, 2, 1, 3], dtype=np.uint8)[truth(4)]
    assert np.array_equal(decode_mask((root / "e4_mask.png").read_bytes()).labels, swapped)


def test_turned_images_are_written_upright(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make(root)
    for number in range(2, 9):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 48, 3), dtype=np.uint8)
        height, width = (48, 32) if number >= 5 else (32, 48)
        Image.fromarray(pixels).save(root / f"t{number}.png", exif=tagged(number))
        Image.fromarray(regions(number, height=height, width=width)).save(root / f"t{number}_mask.png")
    images = [root / f"t{number}.png" for number in range(2, 9)]
    shown = {path: np.asarray(ImageOps.exif_transpose(Image.open(path))) for path in images}
    first, before = look(root), tree(root)
    assert first.findings["turned"] == 7
    result = mend(root, "turned")
    assert [file.path for file in result.files] == [f"t{number}.png" for number in range(5, 9)]
    assert [(one.reason, len(one.files)) for one in result.refused] == [(UNDECIDED, 3)]
    assert look(root).findings["turned"] == 3
    named = mend(root, "turned", remedy="upright")
    assert [file.path for file in named.files] == ["t2.png", "t3.png", "t4.png"]
    after = look(root)
    assert "turned" not in after.findings
    assert "size_mismatch" not in after.findings
    assert all(np.array_equal(np.asarray(Image.open(path)), shown[path]) for path in images)
    fix_undo(named)
    fix_undo(result)
    assert tree(root) == before


@pytest.mark.parametrize("remedy", ["upright", "untag"])
def test_files_with_the_same_tag_are_repaired_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remedy: str
) -> None:
    """Square pairs that agree as stored: a mask turned without its image would be wrong and look right."""
    root = make(tmp_path / "data")
    for number in range(2):
        write_image(root / f"t{number}.png", number, exif=tagged(6))
        Image.fromarray(truth(number)).save(root / f"t{number}_mask.png", exif=tagged(6))
    look(root)
    chosen = getattr(remedies, remedy)
    whole: Callable[[base.Source], base.Repaired] = chosen.REMEDY.repair

    def fail_once(source: base.Source) -> base.Repaired:
        if source.path == "t0.png":
            raise base.RefusedError("no")
        return whole(source)

    monkeypatch.setattr(remedies, "REMEDIES", (replace(chosen.REMEDY, repair=fail_once),))
    result = mend(root, "turned", remedy=remedy, apply=False)
    assert [file.path for file in result.files] == ["t1.png", "t1_mask.png"]
    assert [(one.reason, one.files) for one in result.refused] == [
        (ALONE, (("t0_mask.png", "t0.png"),)),
        ("no", (("t0.png", ""),)),
    ]


def test_a_wrong_suffix_is_renamed_and_the_pair_still_pairs(root: Path) -> None:
    write_image(root / "s.png", 9, format="JPEG")
    Image.fromarray(truth(1)).save(root / "s_mask.png")
    first, before = look(root), tree(root)
    result = mend(root, "suffix_mismatch")
    assert [(file.path, file.target) for file in result.files] == [("s.png", "s.jpg")]
    assert (root / "s.jpg").read_bytes() == before["s.png"][0]
    assert not (root / "s.png").exists()
    after = look(root)
    assert after.counts.pairs == first.counts.pairs
    assert "suffix_mismatch" not in after.findings
    fix_undo(result)
    assert tree(root) == before
    write_image(root / "S.JPG", 10, format="JPEG")
    look(root)
    refused = mend(root, "suffix_mismatch").refused
    assert [(one.reason, one.files) for one in refused] == [(TAKEN, (("s.png", "s.jpg"),))]


def test_names_that_would_pair_no_more_are_refused(root: Path) -> None:
    for number in range(3):
        write_image(root / f"raw_{number}.png", number, format="JPEG" if number == 0 else "PNG")
        Image.fromarray(truth(number)).save(root / f"lab_{number}.png")
    look(root, image_pattern="raw_{key}.png", mask_pattern="lab_{key}.png")
    refused = mend(root, "suffix_mismatch").refused
    assert [(one.reason, one.files) for one in refused] == [(UNPAIRED, (("raw_0.png", "raw_0.jpg"),))]
    pairs = root.parent / "pairs.csv"
    pairs.write_text("image,mask\nraw_0.png,lab_0.png\n")
    look(root, pairs=pairs)
    assert [one.reason for one in mend(root, "suffix_mismatch").refused] == [NAMED_IN_CSV]


def test_specks_are_removed_only_by_name(tmp_path: Path) -> None:
    root = make(tmp_path / "data", pairs=4)
    drawn = regions(3, height=256, width=256) * 60
    small = Image.fromarray(drawn).resize((128, 128), Image.Resampling.BILINEAR)
    write_image(root / "z.png", 1, side=256)
    small.resize((256, 256), Image.Resampling.BILINEAR).save(root / "z_mask.png")
    assert look(root).findings["speckled_mask"] == 1
    assert line(lambda: mend(root, "speckled_mask")).startswith(
        "speckled_mask is repaired only if you name the remedy (--remedy specks: "
    )
    result = mend(root, "speckled_mask", remedy="specks")
    assert [file.path for file in result.files] == ["z_mask.png"]
    assert "speckled_mask" not in look(root).findings
    assert (decode_mask((root / "z_mask.png").read_bytes()).labels != drawn).mean() < 0.02


def test_a_factor_that_is_not_proven_repairs_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "data", lambda mask: Image.fromarray((mask > 1).astype(np.uint8) * 255))
    look(root)
    result = mend(root, "scaled_mask")
    assert (result.files, result.journal) == ((), None)
    assert [one.reason for one in result.refused] == ["the factor of its labels is not proven"]
    assert "255 may have been multiplied by 255" in result.refused[0].files[0][1]


# A folder beside the dataset.


def test_new_files_beside_the_dataset_are_an_overlay_to_copy_over_it(root: Path) -> None:
    look(root)
    before, to = tree(root), root.parent / "new"
    result = mend(root, "wide_mask", to=to)
    assert tree(root) == before
    assert {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()} == {
        file.path for file in result.files
    }
    assert audit_state(root) == "done"  # the dataset is the audited one
    again = line(lambda: mend(root, "wide_mask", to=to))
    assert again == f"{to}/a0_mask.png exists already (and 2 more like it); choose another folder for --to."
    shutil.copytree(to, root, dirs_exist_ok=True)
    assert "wide_mask" not in look(root).findings
    fix_undo(result)
    assert not to.exists()


def test_a_repair_in_place_leaves_the_audit_out_of_date(root: Path) -> None:
    look(root)
    mend(root, "wide_mask")
    assert audit_state(root) == "stale"


def test_a_folder_beside_the_dataset_leaves_the_dataset_to_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be read-only, and files that are added to it later keep the times of its folders."""
    look(root)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(root)))
    result = mend(root, "wide_mask", to=root.parent / "new")
    write_image(root / "later.png", 1)
    before = tree(root)
    fix_undo(result)
    assert tree(root) == before
    fixes = root.parent / "out" / "fixes"
    assert "is in the folder of journals" in line(lambda: mend(root, "wide_mask", to=fixes / "wide_mask-1"))


# The command, workers, and additions.


def test_the_command_shows_examples_the_reasons_and_the_next_command(root: Path) -> None:
    look(root)
    out = root.parent / "out"
    planned = histods("fix", "wide_mask", "--repair", "--in-place", "-w", out, env=os.environ | {"COLUMNS": "300"})
    assert planned.stdout == (
        f"wide_mask: 3 files of {root}\n"
        "narrow, 3 files: Writes labels up to 255 with 8 bits instead of 16.\n"
        "    a0_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "    deep/er/ärmel2_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "    with space1_mask.png\n        16-bit grey: 0, 1, 2, 3 -> 8-bit grey: 0, 1, 2, 3\n"
        "Nothing has been written yet. To write them in the dataset, and keep the originals:\n"
        f"    histods fix wide_mask --repair --in-place --apply -w {out}\n"
    )
    done = histods("fix", "wide_mask", "--repair", "--in-place", "--apply", "-w", out)
    assert "Audit again:" in done.stdout
    assert f"histods audit {root}" in done.stdout.replace(" \\\n      ", " ")
    nothing = histods("fix", "palette", "--repair", "--in-place", "-w", out)
    assert nothing.stdout == "palette: the last audit found no such file.\n"
    journal = out / "fixes" / "wide_mask-1.jsonl"
    undone = histods("fix", "--undo", journal, "--json")
    assert json.loads(undone.stdout)["files_changed"] == 3
    assert "is the journal of a repair" in line(lambda: fix(undo=journal))


def test_many_files_are_repaired_by_workers_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "data", PLANTED["wide_mask"])
    look(root)
    here = mend(root, "wide_mask", to=tmp_path / "here")
    monkeypatch.setattr(run, "CHUNK", 1)
    workers = mend(root, "wide_mask", to=tmp_path / "there")
    assert here.files == workers.files
    contents = [{path: entry[0] for path, entry in tree(tmp_path / name).items()} for name in ("here", "there")]
    assert contents[0] == contents[1]


def brighten(source: base.Source) -> base.Repaired:
    """A toy remedy: one function."""
    return narrow.repair(source)._replace(before="dull", after="bright")


def test_a_remedy_is_added_by_one_definition(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = base.Remedy(name="toy", repairs=("wide_mask",), summary="A toy.", repair=brighten)
    monkeypatch.setattr("histods.remedies.REMEDIES", (toy,))
    look(root)
    result = mend(root, "wide_mask", remedy="toy")
    assert {(file.remedy, file.before, file.after) for file in result.files} == {("toy", "dull", "bright")}
    assert "wide_mask" not in look(root).findings
