"""The table of remedies: the documentation lists it, and advice names what a user can type."""

from __future__ import annotations

from pathlib import Path

from histods.checks import CHECKS
from histods.dataset.manifest import SCHEMA
from histods.remedies import REMEDIES, remedies_of, repair_options, repairable

PAGE = (Path(__file__).parents[3] / "docs" / "fixing.md").read_text(encoding="utf-8")
KINDS = {"gray16", "palette", "rgb", "rgba", "gray_alpha"}


def test_the_page_lists_every_remedy_with_what_it_repairs() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    listed = [(row[2].strip(" `"), tuple(code.strip(" `") for code in row[1].split(","))) for row in rows]
    assert listed == [(remedy.name, remedy.repairs) for remedy in REMEDIES]
    by_name = [row[2].strip(" `") for row in rows if "only by name" in row[3]]
    assert by_name == [remedy.name for remedy in REMEDIES if remedy.by_name]


def test_remedies_repair_findings_and_kinds_of_masks() -> None:
    assert "mask_kind" in SCHEMA.names
    assert set(repairable()) - KINDS <= {check.code for check in CHECKS}
    assert [remedy.name for remedy in remedies_of("turned")] == ["upright", "untag", "recode"]


def test_advice_names_options_that_suffice() -> None:
    assert repair_options("wide_mask") == " --repair"
    assert repair_options("turned") == " --repair"
    assert repair_options("speckled_mask") == " --repair --remedy specks"
    assert repair_options("not_an_index_mask") == ""  # needs a labels file
    assert repair_options("zero_mask") == ""
