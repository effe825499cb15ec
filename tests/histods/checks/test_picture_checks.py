"""Planted pictures are found, sound ones are not, and hostile ones are named by the checks that always do."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import histods
from histods.checks import CHECKS
from histods.checks.base import Context
from histods.checks.near_duplicate import CHECK as NEAR_DUPLICATE
from histods.checks.similar_hashes import find_pairs
from histods.checks.stain_outlier import CHANNELS
from histods.checks.stain_outlier import CHECK as STAIN_OUTLIER
from histods.measurement.audit_result import AuditResult
from tests import commands
from tests.histods.checks.picture_files import FAULTS, encode, glass, restain, tissue

CODES = {check.code for check in CHECKS if check.quality}
SOUND, EACH = 40, 2
Verdicts = dict[str, dict[str, str]]


def judge(root: Path, workspace: Path, **options: object) -> tuple[Verdicts, AuditResult]:
    """Path -> code -> message, of the checks of `--quality`."""
    result = histods.audit(root, workspace=workspace, allow_unpaired=True, **options)  # type: ignore[arg-type]
    verdicts: Verdicts = {}
    for finding in result.iter_findings():
        if finding.code in CODES:
            verdicts.setdefault(finding.path, {})[finding.code] = finding.message
    return verdicts, result


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound pictures, and two for each fault; only near-duplicates are of tissue among the sound ones."""
    root = tmp_path_factory.mktemp("pictures")
    for index in range(SOUND):
        (root / f"a sound {index}.jpg").write_bytes(encode(tissue(index), quality=(80, 95)[index % 2]))
    for place, (name, (code, fault)) in enumerate(FAULTS.items()):
        for number in range(EACH):
            like = EACH * place + number
            pixels = fault(tissue(like if code == "near_duplicate" else SOUND + like))
            (root / f"{name} {number}.jpg").write_bytes(encode(pixels, quality=70))
    return root


@pytest.fixture(scope="module")
def verdicts(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return judge(pictures, tmp_path_factory.mktemp("out"), quality=True, workers=1)[0]


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_planted_is_found(name: str, verdicts: Verdicts) -> None:
    code = FAULTS[name][0]
    for number in range(EACH):
        assert code in verdicts[f"{name} {number}.jpg"]


def test_sound_pictures_have_no_findings_and_their_copies_name_them(verdicts: Verdicts) -> None:
    assert not any(path.startswith("a sound") for path in verdicts)
    for place, (name, (code, _)) in enumerate(FAULTS.items()):
        for number in range(EACH):
            said = verdicts[f"{name} {number}.jpg"].get("near_duplicate", "").split(";")[0]
            copied = f"looks the same as a sound {EACH * place + number}.jpg"
            assert said == (copied if code == "near_duplicate" else "")


def test_blank_tiles_have_that_finding_alone_and_are_no_copies_of_each_other(verdicts: Verdicts) -> None:
    for name in ("white glass", "grey glass", "tinted glass"):
        for number in range(EACH):
            assert set(verdicts[f"{name} {number}.jpg"]) == {"blank"}


def test_verdicts_depend_on_neither_workers_nor_earlier_audits(
    pictures: Path, verdicts: Verdicts, tmp_path: Path
) -> None:
    found, result = judge(pictures, tmp_path, quality=False, workers=2, set="checks.blur.sharpness=0.2")
    assert found == {}
    assert "--set checks.blur.sharpness has no effect without --quality." in result.notes
    found, result = judge(pictures, tmp_path, quality=True, workers=2)
    assert (found, result.files_read) == (verdicts, len(list(pictures.iterdir())))
    found, result = judge(pictures, tmp_path, quality=True, hash=False)
    assert (found, result.files_read) == (verdicts, 0)
    looser, result = judge(pictures, tmp_path, quality=True, set="checks.blur.threshold=0.01")
    assert result.files_read == 0
    assert not any("blur" in codes for codes in looser.values())


@pytest.mark.skipif("HISTODS_REAL_DATA" not in os.environ, reason="HISTODS_REAL_DATA names no folder of real data")
def test_real_patches_have_no_findings(tmp_path: Path) -> None:
    found, result = judge(Path(os.environ["HISTODS_REAL_DATA"], "lung12"), tmp_path, quality=True, workers=1)
    assert found == {}
    assert any(note.startswith("Stains were not compared: 12 images") for note in result.notes)
    assert set(result.manifest.to_polars()["chroma_subsampling"]) == {"4:2:0"}


def test_a_stain_with_the_colours_of_ink_is_not_ink_and_that_is_said(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for index in range(12):
        pixels = restain(tissue(index)) // 2 + np.array([0, 40, 90], np.uint8)
        (root / f"{index}.jpg").write_bytes(encode(pixels.astype(np.uint8)))
    found, result = judge(root, tmp_path / "out", quality=True, workers=1)
    assert not any("pen_marks" in codes for codes in found.values())
    assert any("of 12 images: taken as their stain and not as pen marks" in note for note in result.notes)
    found, result = judge(root, tmp_path / "out", quality=True, set=["checks.pen_marks.stain=1"], workers=1)
    assert sum("pen_marks" in codes for codes in found.values()) >= 10
    assert not any("pen marks" in note for note in result.notes)


@pytest.mark.parametrize(("others", "is_said"), [(10, False), (30, True)])
def test_outliers_that_are_many_are_said_to_be_another_stain(others: int, is_said: bool) -> None:
    spread = np.random.default_rng(0).normal(1, 0.05, (100, 3))
    densities = np.where(np.arange(100)[:, None] < others, [0.7, 0.5, 0.25], [0.35, 0.6, 0.3]) * spread
    names = [f"{number:03}.jpg" for number in range(100)]
    samples = pl.DataFrame(
        {"key": names, "image_path": names, "tissue": 1.0, "contrast": 50.0, "brightest": 240, "clipped": 0.0}
        | {"absorbance": [dict(zip(CHANNELS, row, strict=True)) for row in densities.tolist()]}
    )
    context = STAIN_OUTLIER.context(Context())
    assert STAIN_OUTLIER.judge(samples, context)["key"].to_list() == names[:others]
    assert STAIN_OUTLIER.note is not None
    said = STAIN_OUTLIER.note(samples, context)
    assert (said is not None and said.startswith("The stains of 30 of 100 images are outliers")) == is_said


def test_copies_of_other_groups_are_told_and_exact_ones_are_left_to_duplicate_image(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "A_1.jpg").write_bytes(encode(tissue(1)))
    (root / "A_2.jpg").write_bytes(encode(tissue(1)))
    (root / "B_1.jpg").write_bytes(encode(tissue(1), quality=60))
    options = {"quality": True, "group_regex": "^(.)", "workers": 1}
    found, _ = judge(root, tmp_path / "out", hash=True, **options)
    said = {path: codes["near_duplicate"].split(";")[0] for path, codes in found.items()}
    assert said == {
        "B_1.jpg": "looks the same as A_1.jpg, which is of another group (A)",
    }
    found, _ = judge(root, tmp_path / "out", **options)
    assert set(found) == {"A_2.jpg", "B_1.jpg"}
    assert found["A_2.jpg"]["near_duplicate"].startswith("looks the same as A_1.jpg;")


def test_of_two_images_with_one_key_each_is_judged_for_itself(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    speck = glass(tissue(1), (240, 240, 240), 0)
    (root / "a.jpg").write_bytes(encode(speck))
    speck[:64, :64] = tissue(1)[:64, :64]
    (root / "a.png").write_bytes(encode(speck, "PNG"))
    found, _ = judge(root, tmp_path / "out", quality=True, workers=1)
    assert {path: set(codes) for path, codes in found.items()} == {"a.jpg": {"blank"}, "a.png": {"low_tissue"}}


def test_the_command_says_what_it_did_not_check_and_takes_thresholds(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    out.mkdir()
    (root / "a.jpg").write_bytes(encode(FAULTS["blurred by 2.5 px"][1](tissue(1))))
    common = ("audit", root, "-w", out, "--allow-unpaired")
    line = "Not checked: blur, ink, blank tiles, near-duplicates, fit of masks (--quality)."
    plain = commands.histods(*common)
    assert (plain.returncode, plain.stdout.splitlines().count(line)) == (0, 1)
    printed = commands.histods(*common, "--json").stdout
    assert json.loads(printed)["options"]["quality"] is False
    found = commands.histods(*common, "--quality")
    assert line not in found.stdout
    assert "blur (1), for example a.jpg:" in found.stdout
    (out / "histods.toml").write_text("[audit]\nquality = true\nset = ['checks.blur.sharpness=0.01']\n")
    assert "blur" not in commands.histods(*common).stdout
    audit = json.loads((out / "audit.json").read_text())
    assert audit["options"] | {"quality": True, "set": ["checks.blur.sharpness=0.01"]} == audit["options"]
    assert audit["command"].endswith("--set checks.blur.sharpness=0.01 --allow-unpaired --quality")
    assert "blur" in commands.histods(*common, "--set", "checks.blur.sharpness=0.5").stdout
    listed = " ".join(commands.histods("show", "blur", "-w", out).stdout.split())
    assert f"Next: histods show blur --open DIR -w {out}" in listed.replace("\\ ", "")
    drawn = commands.histods("show", "blur", "--open", tmp_path / "drawn", "-w", out).stdout
    assert "Next: histods fix blur --to DIR" in " ".join(drawn.split())
    assert "`" not in commands.histods("show", "-w", out).stdout
    wrong = commands.histods(*common, "--set", "checks.blur.sharp=0.5")
    assert wrong.returncode == 2
    assert wrong.stderr.strip().endswith("blur has no threshold sharp, only sharpness.")


def hostile() -> dict[str, bytes]:
    """Files that are hard to judge, or to read."""
    pixels = tissue(3)
    flipped = bytearray(encode(pixels))
    flipped[3000:3100] = b"\xff\x00" * 50
    wide = Image.fromarray((np.arange(256 * 256) % 65536).reshape(256, 256).astype(np.uint16))
    grey16 = io.BytesIO()
    wide.save(grey16, "PNG")
    cmyk, palette = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(cmyk, "JPEG")
    Image.fromarray(pixels).quantize(64).save(palette, "PNG")
    return {
        "1x1.png": encode(pixels[:1, :1], "PNG"),
        "1x1.jpg": encode(pixels[:1, :1]),
        "1xN.jpg": encode(pixels[:1]),
        "Nx1.png": encode(pixels[:, :1], "PNG"),
        "31.png": encode(pixels[:31, :31], "PNG"),
        "16 bit.png": grey16.getvalue(),
        "grey.jpg": encode(pixels[..., 0]),
        "rgba.png": encode(np.dstack([pixels, np.full(pixels.shape[:2], 128, np.uint8)]), "PNG"),
        "cmyk.jpg": cmyk.getvalue(),
        "palette.png": palette.getvalue(),
        "truncated.jpg": encode(pixels)[:-600],
        "truncated.png": encode(pixels, "PNG")[:-600],
        "flipped.jpg": bytes(flipped),
        "empty.jpg": b"",
        "text.png": b"no picture",
    }


def test_hostile_pictures_are_named_by_the_checks_that_name_them_anyway(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, content in hostile().items():
        (root / name).write_bytes(content)
    found, result = judge(root, tmp_path / "out", quality=True, workers=1)
    errors = result.findings_frame().filter(pl.col("code") == "unreadable_image")["path"].to_list()
    unreadable = {"truncated.jpg", "truncated.png", "flipped.jpg", "empty.jpg", "text.png"}
    assert set(errors) == unreadable
    assert not unreadable & set(found)
    assert "5 images are narrower or lower than 32 px: --quality does not judge them." in result.notes
    assert not any(name.split(".")[0] in ("1x1", "1xN", "Nx1", "31") for name in found)
    rows = result.manifest.to_polars().select("image_path", "jpeg_quality").rows()
    known = {path for path, quality in rows if quality is not None}
    assert known == {"1x1.jpg", "1xN.jpg", "grey.jpg", "cmyk.jpg"}


def test_damage_that_decoding_finds_does_not_outlast_the_audit_that_decodes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "flipped.jpg").write_bytes(hostile()["flipped.jpg"])
    (root / "sound.jpg").write_bytes(encode(tissue(1)))
    (root / "truncated.png").write_bytes(hostile()["truncated.png"])

    def run(*, quality: bool) -> tuple[int, int]:
        result = judge(root, tmp_path / "out", quality=quality, workers=1)[1]
        return result.files_read, result.findings["unreadable_image"]

    assert run(quality=True) == (3, 2)
    assert run(quality=False) == (1, 1)  # read again: its structure is sound
    assert run(quality=False) == (0, 1)
    assert run(quality=True) == (1, 2)


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8),
    st.lists(st.lists(st.integers(0, 63), max_size=9), max_size=25),
    st.integers(0, 7),
)
def test_all_pairs_of_similar_hashes_are_found(seeds: list[int], flips: list[list[int]], bits: int) -> None:
    values = seeds + [seeds[i % len(seeds)] ^ sum(1 << bit for bit in set(some)) for i, some in enumerate(flips)]
    hashes = np.array(list(dict.fromkeys(values)), np.uint64)
    distances = np.bitwise_count(hashes[:, None] ^ hashes)
    expected = np.argwhere(np.triu(distances <= bits, 1)).tolist()
    assert find_pairs(hashes, bits).tolist() == expected


def test_equal_hashes_are_paired_with_the_first_of_them() -> None:
    hashes = np.array([5, 7, 5, 5, 1 << 40], np.uint64)
    assert find_pairs(hashes, 0).tolist() == [[0, 2], [0, 3]]
    assert find_pairs(hashes, 1).tolist() == [[0, 1], [0, 2], [0, 3]]
    assert find_pairs(hashes[:0], 3).shape == (0, 2)
    with pytest.raises(ValueError, match="bits is 8, expected 0 to 7"):
        find_pairs(hashes, 8)


def test_a_crowd_of_similar_hashes_has_a_bounded_number_of_pairs() -> None:
    flips = np.random.default_rng(0).integers(0, 63, (2000, 3)).astype(np.uint64)
    hashes = np.unique(np.bitwise_xor.reduce(np.uint64(1) << flips, axis=1))
    distances = np.bitwise_count(hashes[:, None] ^ hashes)
    assert np.count_nonzero(np.triu(distances <= 6, 1)) > 900 * len(hashes)
    pairs = find_pairs(hashes, 6)
    assert len(pairs) <= 4 * (16 + 8) * len(hashes)
    assert len(np.unique(pairs)) == len(hashes)  # none is left out


def test_a_near_duplicate_names_the_most_alike_image_before_it() -> None:
    random = np.random.default_rng(0)
    values = np.clip(random.normal(0, 40, 63) + random.normal(0, 12, (30, 63)), -127, 127).astype(np.int8)
    names = [f"{place:02}.jpg" for place in range(len(values))]
    samples = pl.DataFrame(
        {"key": names, "image_path": names, "group": None, "image_error": None, "image_digest": None}
        | {"tissue": 1.0, "contrast": 99.0, "frequencies": [row.tobytes() for row in values]}
    )
    limits = {"similarity": 0.9, "bits": 7, "tissue": 0.1}
    said = dict(NEAR_DUPLICATE.judge(samples, Context(limits=limits)).select("path", "message").iter_rows())
    unit = values / np.linalg.norm(values.astype(float), axis=1, keepdims=True)
    bits = values > np.median(values, axis=1, keepdims=True)
    near = (bits[:, None] != bits).sum(2) <= 7
    likeness = np.where(np.triu(near, 1) & (unit @ unit.T >= 0.9), unit @ unit.T, 0)
    expected = {names[later]: names[likeness[:, later].argmax()] for later in np.flatnonzero(likeness.max(0))}
    assert np.count_nonzero((likeness > 0).sum(0) > 1) > 5  # several to choose from
    assert {path: message.split()[4].strip(";") for path, message in said.items()} == expected
