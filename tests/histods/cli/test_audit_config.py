"""histods.toml: options written once, the command line above it, and a line for whatever is wrong in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from histods import HistodsError
from histods.cli.audit_config import read_audit_config
from tests.commands import histods


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("[audit]\n", {}),
        ("[audit]\nmask-suffix = '_seg'\n", {"mask_suffix": "_seg"}),
        ("[audit]\nmask_suffix = '_seg'\nhash = true\n", {"mask_suffix": "_seg", "hash": True}),
        ("[audit]\nlabels = 'drsk_labels.yml'\n", {"labels": "drsk_labels.yml"}),
        ("[audit]\nlabels = 'own.yml'\n", {"labels": "FOLDER/own.yml"}),
        ("[audit]\nunconditional = ['free', '/data/x']\n", {"unconditional": ["FOLDER/free", "/data/x"]}),
        ("[audit]\nlabels_shown = 5\nfail_on = 'never'\n", {"labels_shown": 5, "fail_on": "never"}),
    ],
)
def test_options_are_read_with_paths_beside_the_file(
    tmp_path: Path, text: str, expected: dict[str, object]
) -> None:
    (tmp_path / "own.yml").write_text("labels: {0: x}")
    (tmp_path / "free").mkdir()
    (tmp_path / "histods.toml").write_text(text)
    found = json.loads(json.dumps(read_audit_config(None, tmp_path)).replace(str(tmp_path), "FOLDER"))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[audit]\nmask_sufix = 'x'", "there is no option mask_sufix of an audit; the nearest is mask_suffix"),
        ("[audit]\ngroup = 'x'", "the nearest is group_regex"),
        ("mask_suffix = 'x'", "mask_suffix is not part of a table [audit]"),
        ("[train]\nx = 1", "train is not part of a table [audit]"),
        ("[audit]\nhash = 'yes'", "hash is 'yes'; write true or false"),
        ("[audit]\nlabels_shown = true", "labels_shown is True; write a number"),
        ("[audit]\nlabels_shown = -1", "labels_shown is -1; write a number"),
        ("[audit]\nunconditional = [1]", "unconditional is [1]; write a list of texts"),
        ("[audit]\nverify = 'deep'", "write one of structure, decode"),
        ("audit = 3", "audit is no table"),
        ("[audit]\nmask-suffix = 'a'\nmask_suffix = 'b'", "mask_suffix is given twice"),
        ("[audit", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "histods.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(HistodsError, match=re.escape(words)) as error:
        read_audit_config(path, tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    assert read_audit_config(None, tmp_path) == {}
    with pytest.raises(HistodsError, match="No such file"):
        read_audit_config(tmp_path / "none.toml", tmp_path)


def test_the_command_line_wins_and_the_audit_records_what_was_used(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    root.mkdir()
    out.mkdir()
    for name in ("a", "b"):
        Image.effect_noise((16, 16), 90).convert("RGB").save(root / f"{name}.png")
        Image.new("L", (16, 16), 1).save(root / f"{name}_seg.png")
    (out / "histods.toml").write_text("[audit]\nmask_suffix = '_seg'\ngroup_regex = '^(.)'\nhash = true\n")
    result = histods("audit", root, "-w", out, "--group-regex", "(a)")
    assert result.returncode == 0, result.stderr
    audit = json.loads((out / "audit.json").read_text())
    assert audit["command"] == f"histods audit {root} --mask-suffix _seg --group-regex '(a)' --hash"
    assert audit["groups"] == 1
