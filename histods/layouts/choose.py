"""The layout that a dataset has, or the pattern to propose where few files pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from histods.layouts.names import IS_PICTURE, Layout, list_files, name_roles
from histods.layouts.other import DERIVED_OR_COLOURED_WORD
from histods.layouts.pairs import pair
from histods.layouts.search import Candidate, candidates, gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.layouts.pairs import Pairing


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Patterns that would pair more files than were paired: `pairs` of the `of` images they name."""

    image_pattern: str
    mask_pattern: str
    pairs: int
    of: int


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """A candidate and what it pairs."""

    candidate: Candidate
    pairing: Pairing

    @property
    def merit(self) -> float:
        """How many pairs it makes, less where the words leave a doubt."""
        return self.pairing.pairs * self.candidate.weight


def find_layout(
    paths: Sequence[str] | pl.Series,
    *,
    mask_suffix: str,
    images_dir: str,
    masks_dir: str,
    unconditional: Sequence[str] = (),
) -> Layout:
    """Choose the layout that the names of the files show.

    `suffix` and `folders` come first, whichever pairs more. A pattern is chosen by itself only where there
    is no doubt: it pairs every image and every mask it names, words tell the roles, and what it does not
    name is made from images (overlays). Else it is `suffix`, and `suggest` may propose a pattern.

    Args:
        paths: the files of the dataset, each once.
        mask_suffix: as in `Layout`.
        images_dir: as in `Layout`.
        masks_dir: as in `Layout`.
        unconditional: files of folders without masks by design, which tell nothing of the layout.

    Raises:
        HistodsError: a name is empty.
    """
    by_suffix = Layout(kind="suffix", mask_suffix=mask_suffix)
    by_folders = Layout(kind="folders", images_dir=images_dir, masks_dir=masks_dir)
    pictures = _pictures(paths, unconditional)
    suffix_pairs, folder_pairs = _count_pairs(pictures, by_suffix), _count_pairs(pictures, by_folders)
    if suffix_pairs or folder_pairs:
        return by_suffix if suffix_pairs >= folder_pairs else by_folders
    sample = gather(pictures)
    tried = _try(sample)
    if not tried or not _is_beyond_doubt(tried, sample):
        return by_suffix
    layout = tried[0].candidate.layout()
    if len(sample) < len(pictures) and not _pairs_all(pair(pictures["path"], layout), pictures):
        return by_suffix
    return layout


def suggest(paths: Sequence[str] | pl.Series, pairing: Pairing) -> Suggestion | None:
    """Propose the pattern that would pair most, where fewer than half of the images have a mask.

    Args:
        paths: the files of the dataset, each once.
        pairing: what they were paired to.
    """
    if 0 < pairing.images <= 2 * pairing.pairs:
        return None
    pictures = _pictures(paths, pairing.samples.filter("by_design")["image_path"])
    tried = _try(gather(pictures))
    if not tried:
        return None
    best = tried[0].candidate
    proposed = pair(pictures["path"], best.layout())
    if proposed.pairs < max(2, pairing.pairs + 1):
        return None
    return Suggestion(
        image_pattern=best.image_pattern,
        mask_pattern=best.mask_pattern,
        pairs=proposed.pairs,
        of=proposed.images,
    )


def _pictures(paths: Sequence[str] | pl.Series, unconditional: Sequence[str] | pl.Series) -> pl.DataFrame:
    """The pictures among the files, without those that have no masks by design."""
    pictures = list_files(paths).filter(IS_PICTURE)
    return pictures.join(list_files(unconditional), on="path", how="anti") if len(unconditional) else pictures


def _count_pairs(pictures: pl.DataFrame, layout: Layout) -> int:
    """How many images have a mask, without making their rows."""
    if layout.kind == "folders":
        folders = [layout.images_dir.strip("/"), layout.masks_dir.strip("/")]
        pictures = pictures.filter(pl.col("key").str.contains_any(folders))
    named = name_roles(pictures, layout)
    masks = named.filter(pl.col("role") == "mask").select("link")
    images = named.filter(pl.col("role") == "image").select("link")
    return len(images.unique().join(masks, on="link", how="semi"))


def _try(sample: pl.DataFrame) -> list[_Tried]:
    """The candidates that pair at least two images, best first; of equal ones that which takes least."""
    tried = []
    for candidate in candidates(sample):
        found = _Tried(candidate, pair(sample["path"], candidate.layout()))
        if found.pairing.pairs > 1:
            tried.append(found)
    return sorted(tried, key=lambda one: (-one.merit, one.candidate.cost, one.candidate.image_pattern))


def _is_beyond_doubt(tried: list[_Tried], sample: pl.DataFrame) -> bool:
    """Whether the best candidate pairs all it names, and no other does so differently."""
    best = tried[0]
    if not best.candidate.told_by_mask or not _pairs_all(best.pairing, sample):
        return False
    rivals = (other for other in tried[1:] if other.merit == best.merit)
    return all(rival.pairing.samples.equals(best.pairing.samples) for rival in rivals)


def _pairs_all(pairing: Pairing, pictures: pl.DataFrame) -> bool:
    """Whether every sample is a pair that competes with none, and every other picture is a derived one."""
    samples = pairing.samples.filter(~pl.col("outside") & pl.col("derived").is_null())
    if pairing.pairs < len(samples) or samples["collision"].count() + samples["rivals"].count() > 0:
        return False
    used = pl.concat([samples["image_path"], samples["mask_path"]])
    rest = pictures.filter(~pl.col("path").is_in(used.implode()))
    return rest["key"].str.contains(DERIVED_OR_COLOURED_WORD).all()
