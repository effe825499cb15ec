"""Names of files in the layouts of many datasets, and what is found for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.dataset.layouts import Layout, choose_layout, pair, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.dataset.layouts import Suggestion

KEYS = [f"{organ}{place:02d}" for organ in ("case", "kidney_b") for place in range(5)]


def found(names: Sequence[str], unconditional: Sequence[str] = ()) -> Layout:
    choice = choose_layout(
        names, mask_suffix="_mask", images_dir="images", masks_dir="masks", unconditional=unconditional
    )
    return choice.layout


def proposed(names: Sequence[str], layout: Layout | None = None) -> Suggestion | None:
    suggestions = suggest(names, pair(names, layout or Layout(kind="suffix")))
    return suggestions[0] if suggestions else None


def patterns_of(choice: Layout | Suggestion | None) -> tuple[str | None, str | None]:
    assert choice is not None
    return choice.image_pattern, choice.mask_pattern


def each(*names: str, keys: Sequence[str] = KEYS) -> list[str]:
    return [name.replace("*", key) for key in keys for name in names]
