"""The table of formats: a toy format is one codec and one entry, and pairing, checks and sampling read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from histods.errors import UnreadableFileError
from histods.images.formats import FORMATS, codec_of, image_suffixes, lossless_suffixes, mask_suffixes, sniff

ROOT = Path(__file__).parents[3]
CODEC = """
import numpy as np
from histods.errors import UnreadableFileError
from histods.images.formats import Values
from histods.images.header import Header
from histods.images.rgb import Shown

def check(content):
    _, width, height, _ = content.split(None, 3)[:4]
    if len(content.split(None, 4)[4]) < int(width) * int(height):
        raise UnreadableFileError("truncated: the grey map lacks pixels")
    return Header("pgm", int(width), int(height))

def identify(content):
    return check(content), "gray8"

def decode(content, header):
    check(content)

def pixels(content, header):
    flat = np.frombuffer(content.split(None, 4)[4], np.uint8)
    return flat[: header.width * header.height].reshape(header.height, header.width)

def show(content, header):
    return Shown(np.repeat(pixels(content, header)[..., None], 3, axis=2), None)

def read(content, header, kind):
    return Values(pixels(content, header), kind)
"""
SCRIPT = """
import json, sys
from pathlib import Path
from histods.images.formats import FORMATS, ImageFormat
toy = {"suffixes": (".pgm",), "starts": lambda start: start[:2] == b"P5", "codec": "pgm_codec"}
FORMATS.append(ImageFormat(name="pgm", **toy))

import numpy as np
from PIL import Image
from histods.engines import Engine
from histods.steps import audit as step
from tests.in_process import Here

step.engine_for = lambda *_: Engine(Here())
root = Path(sys.argv[1])
root.mkdir()
rng = np.random.default_rng(0)
for number in range(4):
    image = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = number
    Image.fromarray(image).save(root / f"{number}.png")
    (root / f"{number}_mask.pgm").write_bytes(b"P5 16 16 255\\n" + mask.tobytes())
(root / "3_mask.pgm").write_bytes(b"P5 16 16 255\\nshort")
(root / "1.png").rename(root / "1.pgm")  # named for what it is not
result = step.audit(root, workspace=sys.argv[2], workers=1)

from training.inference.mask_inputs import MaskReader, find_masks
(root / "3_mask.pgm").unlink()
masks = [MaskReader(4, 16).read(path)[0].max() for path in find_masks(root)[0].values()]
labels = [row.label for row in result.labels]
print(json.dumps([result.counts.pairs, result.findings, labels, [int(label) for label in masks]]))
"""


def test_a_format_is_one_codec_and_one_entry(tmp_path: Path) -> None:
    (tmp_path / "pgm_codec.py").write_text(textwrap.dedent(CODEC))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "data"), str(tmp_path / "out")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    pairs, findings, labels, masks = json.loads(run.stdout)
    assert (pairs, labels, masks) == (4, [0, 1, 2], [0, 1, 2])
    assert (findings["unreadable_mask"], findings["suffix_mismatch"], findings["zero_mask"]) == (1, 1, 1)


def test_no_two_formats_share_a_suffix_or_a_name() -> None:
    assert len({one.name for one in FORMATS}) == len(FORMATS)
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert set(image_suffixes()) <= set(mask_suffixes()) == set(suffixes)
    assert set(lossless_suffixes()) < set(mask_suffixes())


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_every_codec_has_all_that_a_codec_has(one: object) -> None:
    codec = codec_of(one.name)  # type: ignore[attr-defined]
    assert all(callable(getattr(codec, name)) for name in ("check", "identify", "decode", "show", "read"))


@pytest.mark.parametrize("start", [b"", b"\xff\xd8", b"\x89PN", b"P5 1", b"RIFF0000WAVE"])
def test_bytes_of_no_format_are_refused(start: bytes) -> None:
    with pytest.raises(UnreadableFileError):
        sniff(start)
