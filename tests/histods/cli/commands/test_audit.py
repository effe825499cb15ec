"""`histods audit`: where its options come from, what it prints where, and its status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.histods.cli.commands.conftest import Place


def test_a_file_of_options_counts_unless_the_command_line_says_otherwise(copied: Place) -> None:
    config = copied.folder / "audit.toml"
    config.write_text('[audit]\nallow_unpaired = true\nfail_on = "never"\nmask_suffix = "_nothing"\n')
    result = copied.run("audit", copied.data, "--config", config, "--mask-suffix", "_mask")
    assert result.returncode == 0
    document = json.loads((copied.out / "audit.json").read_text())
    assert (document["counts"]["pairs"], document["counts"]["images_without_mask"]) == (8, 1)
    assert "missing_mask" not in document["findings"]


def test_json_is_the_summary_and_the_tables_go_to_stderr(copied: Place) -> None:
    result = copied.run("audit", copied.data, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout) == json.loads((copied.out / "audit.json").read_text())
    assert "Findings (files and reasons" in result.stderr


def test_quiet_prints_the_reason_of_a_status_other_than_0_alone(copied: Place) -> None:
    result = copied.run("audit", copied.data, "-q")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Exit status 1: 2 errors. 2 samples are set aside; the other 7 can be used")


def test_a_draft_of_labels_is_what_comes_next(copied: Place) -> None:
    draft = copied.folder / "labels.yml"
    result = copied.run("audit", copied.data, "--fail-on", "never", "--write-labels", draft)
    assert draft.is_file()
    assert "".join(result.stdout.split()).endswith(
        f"thenauditagainwith--labels{draft}"
    )  # wherever lines are folded
    assert "Next:" not in result.stdout
