"""Files of a dataset that are not pictures, and words for pictures made from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Words that name a picture made from an image or a mask.
_MADE_FROM = (
    r"overlays?|overlayed|overlaid|blend(?:ed)?|pred(?:s|icted|ictions?)?|prob(?:s|abilit(?:y|ies))?|heat(?:maps?)?"
    r"|contours?|outlines?|boundar(?:y|ies)|edges?|previews?|thumb(?:s|nails?)?|vi[sz]|visuali[sz]ations?"
    r"|composites?|figures?"
)
COLOUR_WORD = r"colou?r(?:s|ed|map)?"
DERIVED_WORD = rf"(?i)(?:^|[^a-z])(?:{_MADE_FROM})(?:[^a-z]|$)"
DERIVED_OR_COLOURED_WORD = rf"(?i)(?:^|[^a-z])(?:{_MADE_FROM}|{COLOUR_WORD})(?:[^a-z]|$)"


def count_by_suffix(files: pl.DataFrame) -> dict[str, int]:
    """Count the files with each suffix, in order of the suffixes.

    Args:
        files: `suffix` of each file.
    """
    suffixes = files["suffix"].replace("", "(no suffix)").value_counts()
    return dict(suffixes.sort("suffix").iter_rows())
