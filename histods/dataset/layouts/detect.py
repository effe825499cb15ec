"""Detect the layout of a dataset, or propose patterns if several are equally good."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from histods.dataset.layouts.candidates import find_options, identify, pairs_of
from histods.dataset.layouts.file_sample import gather
from histods.dataset.layouts.names import IS_PICTURE, Layout, layout_of, list_files, name_roles
from histods.dataset.layouts.pairing import pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.dataset.layouts.candidates import Look, Option
    from histods.dataset.layouts.pairing import Pairing

_AS_GOOD = 0.85
_MAX_SUGGESTIONS = 6
_MAX_ROUNDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Patterns that would pair more files than were paired: `pairs` of the `of` images that they match."""

    image_pattern: str
    mask_pattern: str
    pairs: int
    of: int

    @property
    def options(self) -> str:
        """The options of `histods audit` for these patterns."""
        return f"--image-pattern {shlex.quote(self.image_pattern)} --mask-pattern {shlex.quote(self.mask_pattern)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The layout to use, and patterns that would pair more if several are equally good, best first."""

    layout: Layout
    suggestions: tuple[Suggestion, ...] = ()


@dataclass(slots=True)
class _Found:
    """Patterns found so far: those to use, and the choices in cases of doubt."""

    taken: list[tuple[str, str]] = field(default_factory=list)
    doubtful: list[list[Option]] = field(default_factory=list)


def choose_layout(
    paths: Sequence[str] | pl.Series,
    *,
    mask_suffix: str,
    images_dir: str,
    masks_dir: str,
    unconditional: Sequence[str] = (),
    look: Look | None = None,
) -> Choice:
    """Choose the layout that fits the files.

    `suffix` or `folders`, whichever pairs more, is used directly if it pairs every picture. Else patterns that
    pair the others are searched, and scored by the words in their names, by the appearance of pictures, and by the
    number of pairs. A clear winner is added to the existing pairs, in order of the pairs that each makes; if
    several are equally good, none is used, and all are proposed.

    Args:
        paths: the files of the dataset, each once.
        mask_suffix: as in `Layout`.
        images_dir: as in `Layout`.
        masks_dir: as in `Layout`.
        unconditional: files of folders without masks by design, which do not show the layout.
        look: tells whether a picture is a photograph or a mask; called for a few files of each candidate.

    Raises:
        HistodsError: a name is empty.
    """
    by_suffix = Layout(kind="suffix", mask_suffix=mask_suffix)
    by_folders = Layout(kind="folders", images_dir=images_dir, masks_dir=masks_dir)
    pictures = _pictures(paths, unconditional)
    suffix_pairs, folder_pairs = _count_pairs(pictures, by_suffix), _count_pairs(pictures, by_folders)
    plain, pairs = (by_suffix, suffix_pairs) if suffix_pairs >= folder_pairs else (by_folders, folder_pairs)
    if 2 * pairs >= len(pictures):
        return Choice(layout=plain)
    found = _search(pictures, plain if pairs else None, look)
    taken = found.taken
    layout = plain
    if taken and taken != plain.patterns():
        taken = _most_pairs_first(pictures, taken)
        layout = plain if set(taken) <= set(plain.patterns()) else layout_of(taken)
    return Choice(layout=layout, suggestions=_suggestions(pictures, found, layout if taken else None))


def suggest(
    paths: Sequence[str] | pl.Series, pairing: Pairing, look: Look | None = None
) -> tuple[Suggestion, ...]:
    """Propose patterns that would pair more, if fewer than half of the images have a mask.

    Args:
        paths: the files of the dataset, each once.
        pairing: the current pairs.
        look: as in `choose_layout`.
    """
    if 0 < pairing.images <= 2 * pairing.pairs:
        return ()
    pictures = _pictures(paths, pairing.samples.filter("by_design")["image_path"])
    found = _search(pictures, None, look)
    if found.taken:
        proposed = [_suggestion(pictures, layout_of(_most_pairs_first(pictures, found.taken)))]
    else:
        proposed = list(_suggestions(pictures, found, None))
    return tuple(one for one in proposed if one.pairs > max(1, pairing.pairs))


def _pictures(paths: Sequence[str] | pl.Series, unconditional: Sequence[str] | pl.Series) -> pl.DataFrame:
    """The pictures among the files, without those that have no masks by design."""
    pictures = list_files(paths).filter(IS_PICTURE)
    return pictures.join(list_files(unconditional), on="path", how="anti") if len(unconditional) else pictures


def _count_pairs(pictures: pl.DataFrame, layout: Layout) -> int:
    """Count the images with a mask, without making their rows."""
    if layout.kind == "folders":
        folders = [layout.images_dir.strip("/"), layout.masks_dir.strip("/")]
        pictures = pictures.filter(pl.col("key").str.contains_any(folders))
    named = name_roles(pictures, layout)
    masks = named.filter(pl.col("role") == "mask").select("link")
    images = named.filter(pl.col("role") == "image").select("link")
    return len(images.unique().join(masks, on="link", how="semi"))


def _search(pictures: pl.DataFrame, plain: Layout | None, look: Look | None) -> _Found:
    """Find patterns for the files that the plain layout does not pair, until nothing more is found.

    The patterns are found on a few thousand files; all files that they do not pair are searched again.
    """
    found = _Found(taken=plain.patterns() if plain else [])
    layout = plain
    known: set[str] = set()
    for _ in range(_MAX_ROUNDS):
        rest = _leftover(pictures, layout)
        sample = gather(rest)
        options = find_options(sample, look)
        if not options:
            break
        before = len(found.taken)
        if layout is not None:
            known |= identify(pairs_of(pictures, layout)[0]).keys()
        _settle(options, known, found)
        if len(found.taken) == before or len(sample) == len(rest):
            break
        layout = layout_of(found.taken)
        known |= {name for options in found.doubtful for option in options for name in option.pairs}
    return found


def _leftover(pictures: pl.DataFrame, layout: Layout | None) -> pl.DataFrame:
    """The pictures that a layout does not pair."""
    if layout is None:
        return pictures
    named = name_roles(pictures, layout)
    masks = named.filter(pl.col("role") == "mask").select("link")
    paired = named.filter(pl.col("role") == "image").select("link").join(masks, on="link", how="semi")
    return named.join(paired, on="link", how="anti").select(pictures.columns)


def _settle(options: list[Option], taken: set[str], found: _Found) -> None:
    """Use the best option if no other pairs the same images or masks equally well, then the best of the rest.

    Args:
        options: best first.
        taken: identities of existing pairs.
        found: receives the options used, and the choices if several are equally good.
    """
    taken = set(taken)
    while options:
        left = [(option, option.without(taken)) for option in options]
        options = [
            rest for option, rest in left if 2 * len(rest.pairs) > len(option.pairs) and len(rest.pairs) > 1
        ]
        options.sort(key=lambda option: -option.merit)  # stable: equal ones stay in order
        if not options:
            return
        best = options[0]
        used = {*best.pairs, *(path for pair in best.pairs.values() for path in pair)}
        rivals = [
            option
            for option in options[1:]
            if option.merit >= _AS_GOOD * best.merit
            and 2 * len(option.without(used).pairs) <= len(option.pairs)
            and not set(option.pairs.values()) <= set(best.pairs.values())
        ]
        if best.is_sure() and not rivals:
            found.taken += best.candidate.patterns
        else:
            found.doubtful.append([best, *rivals])
        taken |= used
        options = options[1:]


def _most_pairs_first(pictures: pl.DataFrame, patterns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The patterns in order of the pairs that each makes on its own, without those that add none."""
    if len(patterns) == 1:
        return patterns
    alone = {pattern: len(pairs_of(pictures, layout_of([pattern]))[0]) for pattern in patterns}
    order = sorted(alone, key=lambda pattern: -alone[pattern])  # stable: equal ones stay in order
    kept: list[tuple[str, str]] = []
    pairs = 0
    for pattern in order:
        more = len(pairs_of(pictures, layout_of([*kept, pattern]))[0])
        if more > pairs:
            kept, pairs = [*kept, pattern], more
    return kept


def _suggestions(pictures: pl.DataFrame, found: _Found, layout: Layout | None) -> tuple[Suggestion, ...]:
    """The remaining choices, each combined with the patterns in use, in order."""
    base = [] if layout is None else layout.patterns()
    choices = [option for options in found.doubtful for option in options[:_MAX_SUGGESTIONS]]
    if not choices:
        return ()
    proposed = [_suggestion(pictures, layout_of([*base, *option.candidate.patterns])) for option in choices]
    now = 0 if layout is None else len(pairs_of(pictures, layout)[0])
    return tuple(one for one in proposed if one.pairs > max(1, now))[:_MAX_SUGGESTIONS]


def _suggestion(pictures: pl.DataFrame, layout: Layout) -> Suggestion:
    """A layout as a proposal, with the resulting numbers."""
    pairing = pair(pictures["path"], layout)
    return Suggestion(
        image_pattern=str(layout.image_pattern),
        mask_pattern=str(layout.mask_pattern),
        pairs=pairing.pairs,
        of=pairing.images,
    )
