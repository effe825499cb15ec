"""How an evaluation of generated masks is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histods.cli.console import print_line, print_table
from histods.errors import HistodsError
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.io.mask_evaluation_file import MaskDistance
    from training.verbs.evaluate_masks import EvaluateMasksResult


def show_mask_evaluation(console: Console, result: EvaluateMasksResult) -> None:
    """Print each distance of generated to real masks beside its floor."""
    found = result.comparison
    print_line(
        console,
        f"Masks of {result.run} at step {result.step:,}: {found.generated:,} generated and "
        f"{counted(found.real, 'real mask')} (the split {result.split}, {counted(found.groups, 'slide')}).",
    )
    print_table(
        console,
        "Distances (0: alike)",
        ["distance", "generated", "real halves"],
        [
            ["mean proportions of classes", *_pair(found.mean_proportions)],
            ["adjacency of classes", *_pair(found.adjacency)],
            ["strips between two other classes, per border", *_pair(found.strips)],
        ],
        numbers=(1, 2),
    )
    print_table(
        console,
        "Distances of each class",
        ["class", "share", "real halves", "log size of regions", "real halves"],
        [
            [name, *_pair(one), *_pair(found.region_sizes[name])]
            for name, one in found.proportions.items()
            if one.distance
        ],
        numbers=(1, 2, 3, 4),
    )
    for line in result.warnings:
        print_line(console, f"warning: {line}.")
    print_line(console, f"Written: {result.record} (the masks are in {result.masks})")


def _pair(one: MaskDistance) -> tuple[str, str]:
    return _number(one.distance), _number(one.floor)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def mask_document(result: EvaluateMasksResult) -> dict[str, Any]:
    """The result for `--json`."""
    return {
        "record": result.record.as_posix(),
        "masks": result.masks.as_posix(),
        "run": result.run,
        "step": result.step,
        "split": result.split,
        "warnings": list(result.warnings),
        "comparison": result.comparison.as_dict(),
    }


def refuse_options(run: str, options: dict[str, object]) -> None:
    """Refuse options that were given, and have no meaning for a run of masks.

    Raises:
        HistodsError: there is one.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise HistodsError(f"{run} makes masks, and {' and '.join(given)} are for images: omit them.")
