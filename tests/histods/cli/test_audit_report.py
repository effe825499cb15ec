"""What an audit prints: why the status is 1, the largest labels, and every finding with an example."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from histods.cli.audit_report import show_audit, why_failed
from histods.dataset.layouts import Suggestion
from histods.records import ColourCount, LabelCount
from tests.in_process import audit_here

if TYPE_CHECKING:
    from histods.measurement.audit_result import AuditResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """Two pairs, one of them cut short, and a file that is no image."""
    folder = tmp_path_factory.mktemp("report")
    root = folder / "data"
    root.mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (number, 9, 9)).save(root / f"[red]{number}.png")
        Image.fromarray(np.tri(64, dtype=np.uint8)).save(root / f"[red]{number}_mask.png")
    (root / "[red]1.png").write_bytes(b"\x89PNG")
    (root / "LICENSE").touch()
    return audit_here(root, workspace=folder / "out")


def shown(result: AuditResult, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=80)
    show_audit(console, result, **options)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in lines if " " in line.strip())
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("changes", "severities", "fail_on", "said"),
    [
        ({}, {}, "error", None),
        ({}, {"warning": 3}, "error", None),
        ({}, {"error": 3}, "never", None),
        ({}, {"warning": 1}, "warning", "Exit status 1: 1 warning; all 1,500 samples can be used ("),
        (
            {"excluded": 1},
            {"error": 1},
            "error",
            "Exit status 1: 1 error. 1 sample is set aside; the other 1,500 can be used, so that you can continue",
        ),
        (
            {"excluded": 2},
            {"error": 3, "warning": 9},
            "warning",
            "Exit status 1: 3 errors. 2 samples are set aside",
        ),
        (
            {"conditional": 0, "unconditional": 0},
            {"error": 2},
            "error",
            "Exit status 1: 2 errors, and no sample can be used.",
        ),
        (
            {"conditional": 0, "unconditional": 0, "pairs": 0},
            {},
            "error",
            "Exit status 1: no image has a mask. Say how they pair with --mask-suffix, ",
        ),
    ],
    ids=str,
)
def test_the_reason_of_a_status_is_what_counts_and_what_can_be_used(
    result: AuditResult, changes: dict[str, int], severities: dict[str, int], fail_on: str, said: str | None
) -> None:
    counts = replace(result.counts, **{"conditional": 1000, "unconditional": 500, "pairs": 1500} | changes)
    found = why_failed(replace(result, counts=counts, severities=severities), fail_on)
    assert found is None if said is None else found is not None and found.startswith(said)


def test_where_patterns_are_shown_one_is_to_be_chosen(result: AuditResult) -> None:
    counts = replace(result.counts, conditional=0, unconditional=0, pairs=0)
    hints = tuple(
        Suggestion(image_pattern=f"{number}", mask_pattern="m", pairs=1200, of=1300) for number in range(2)
    )
    found = replace(result, counts=counts, suggestions=hints)
    assert why_failed(found, "error") == "Exit status 1: no image has a mask. Choose one of the patterns above."
    text = shown(found)
    listed = text.partition("Several patterns would pair; choose one: ")[2]
    assert listed == " ".join(f"1,200 of 1,300 would pair with {hint.options}" for hint in hints)


def test_every_finding_has_an_example_and_names_are_no_markup(result: AuditResult) -> None:
    text = shown(result)
    assert "unreadable_image (1), for example [red]1.png:" in text
    assert "Ignored: 1 file without a suffix." in text
    assert "error unreadable_image 1" in text
    assert "Not counted here: 4,096 pixels in 1 mask of excluded samples" in text
    assert text.startswith(f"{result.root} (layout: suffix, masks end in _mask)")


def test_the_largest_labels_are_shown_in_the_order_of_their_numbers(result: AuditResult) -> None:
    labels = tuple(
        LabelCount(label=label, name=f"n{label}", pixels=pixels, percent=1.0, images=1)
        for label, pixels in ((0, 5), (1, 900), (2, 7), (700, 901))
    )
    text = shown(replace(result, labels=labels), labels_shown=2)
    assert "the 2 largest of 4" in text
    assert text.index("n1 900") < text.index("n700 901")
    assert "n0" not in text
    assert f"All labels: histods show labels -w {result.workspace}" in text


def test_of_many_colours_the_first_are_shown_and_the_others_counted(result: AuditResult) -> None:
    colours = tuple(
        ColourCount(colour=f"#0000{number:02x}", pixels=5, percent=1.0, masks=1, label=None)
        for number in range(15)
    )
    text = shown(replace(result, palette=colours))
    assert "#00000b" in text
    assert "#00000c" not in text
    assert "and 3 more colours, in audit.json" in text
    assert "To draft a labels file from them:" not in text  # no finding is about colours


def test_a_sound_dataset_has_no_problems(result: AuditResult) -> None:
    text = shown(replace(result, findings={}, severities={}))
    assert "No problems found." in text
    assert "for example" not in text
