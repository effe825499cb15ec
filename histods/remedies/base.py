"""The definition of a remedy: a function from the bytes of a file to the bytes that repair it.

A remedy changes a file only where it is proven that nothing of worth is lost; else it refuses the file with a
reason. What only a person can decide, such as whether specks are noise, is done only if the remedy is asked for by
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from histods.labels.label_map import LabelTable


class RefusedError(HistodsError):
    """A file, or all of them, cannot be repaired safely.

    Attributes:
        reason: the same text for all files with the same obstacle, so that they can be counted.
        detail: what is particular to the file; empty if nothing is.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str]]:
        return RefusedError, (self.reason, self.detail)


class Dataset(NamedTuple):
    """What a proof about the whole dataset may use.

    Attributes:
        manifest: the manifest's table.
        flagged: paths of the files to repair.
        labels: names and colours of labels; without names if there is no labels file.
        contested: paths of palette masks whose palettes contradict those of other masks.
    """

    manifest: pl.DataFrame
    flagged: frozenset[str]
    labels: LabelTable
    contested: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file to repair.

    Attributes:
        content: the whole file.
        path: its POSIX path below the dataset's folder.
        is_mask: whether it is a mask; else it is an image.
        partners: the contents of the files that it is paired with: the mask of an image, the images of a mask.
        named: whether the user asked for this remedy by name.
        study: the result of the remedy's `study`.
    """

    content: bytes
    path: str
    is_mask: bool
    partners: Callable[[], tuple[bytes, ...]]
    named: bool
    study: Any


class Repaired(NamedTuple):
    """A repaired file.

    Attributes:
        content: the whole new file.
        before: what is wrong with the file now, in a few words.
        after: the same of the new file.
        suffix: the new suffix of its name; None if the name stays.
        together: places, among the partners, of those without whose repair this one would be wrong.
    """

    content: bytes
    before: str
    after: str
    suffix: str | None = None
    together: tuple[int, ...] = ()


def study_nothing(_: Dataset) -> None:
    """The study of remedies that need to know nothing but the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """One way to repair files.

    Attributes:
        name: its name, for `--remedy`.
        repairs: codes of the findings that it repairs, or kinds of masks (`mask_kind` of the manifest).
        summary: what it does, as a sentence.
        repair: makes the new file; raises `RefusedError`.
        by_name: never applied unless asked for by name.
        needs_labels: does nothing without a labels file.
        study: looks at the whole dataset once, in the main process; its result goes to every call of `repair`. It
            raises `RefusedError` if no file can be repaired.
    """

    name: str
    repairs: tuple[str, ...]
    summary: str
    repair: Callable[[Source], Repaired]
    by_name: bool = False
    needs_labels: bool = False
    study: Callable[[Dataset], Any] = study_nothing
