"""What `masks.json` of an evaluation holds: written by `histods evaluate`, and read by the report page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.atomic import write_json
from histods.io.workspace import read_as

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
FILE = "masks.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDistance:
    """A distance between generated and real masks.

    Attributes:
        distance: the distance; None if there is nothing to compare, as where one side lacks a class.
        floor: the mean distance between halves of the real masks; None with fewer than two groups, or likewise.
    """

    distance: float | None
    floor: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskComparison:
    """How generated masks differ from real ones.

    Attributes:
        real: number of real masks.
        generated: number of generated masks.
        groups: number of groups (slides) of the real masks.
        mean_proportions: total variation of the mean proportions of classes, 0 to 1.
        proportions: for each class, the Wasserstein-1 distance of its share per mask, 0 to 1.
        region_sizes: for each class, the Wasserstein-1 distance of the natural logarithm of its regions' pixels.
        adjacency: total variation of which classes share borders, weighted by their length, 0 to 1.
        strips: the difference of the numbers of strips per border: short runs between two other classes.
        real_strips: that number for real masks; None without borders.
        generated_strips: that number for generated masks.
    """

    real: int
    generated: int
    groups: int
    mean_proportions: MaskDistance
    proportions: dict[str, MaskDistance]
    region_sizes: dict[str, MaskDistance]
    adjacency: MaskDistance
    strips: MaskDistance
    real_strips: float | None
    generated_strips: float | None

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskEvaluationFile(MaskComparison):
    """The document `masks.json`: a comparison, and of what.

    Attributes:
        schema_version: of this document.
        run: name of the run.
        step: training steps of its weights.
        split: the split of the real masks.
        warnings: sentences about what to be careful with.
    """

    schema_version: int = SCHEMA_VERSION
    run: str
    step: int
    split: str
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write `masks.json` to a folder; its path."""
        path = folder / FILE
        write_json(path, asdict(self))
        return path

    @classmethod
    def read(cls, path: Path) -> MaskEvaluationFile:
        """Read a file.

        Raises:
            HistodsError: it is damaged, or of another version.
        """
        found = read_as(cls, path, what="an evaluation of masks", advice="evaluate again")
        if found.proportions.keys() != found.region_sizes.keys():
            raise HistodsError(
                f"{path} has proportions and sizes of regions of different classes; evaluate again."
            )
        return found
