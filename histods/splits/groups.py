"""Groups (slides, patients) taken from keys by a regular expression.

Rust's regex engine runs it, whose time is linear: no expression can hang on a hostile name.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from histods.errors import HistodsError

SHOWN = 5
"""Keys that are shown with their groups, so that a wrong expression is seen at once."""
_NAME = "group"
_USUAL = (
    r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})",  # the patient in a barcode of The Cancer Genome Atlas
    r"^(.+?)[-_. ]+(?i:xy?)[-_=]?\d+",  # what stands before the place in the slide
    r"^(.+)[-_. ]\d+[-_ ]\d+$",
    r"^(.+)[-_. ]\d+$",
)
"""How names of patches begin with their slide or patient, the surest first."""
_MATCHED, _MIN_KEYS = 0.95, 2
"""Share of the keys that a usual expression has to match, and how many of them a group has to hold on average."""


class Proposal(NamedTuple):
    """An expression that may give groups: how many, and the group of the first key, as an example."""

    expression: str
    groups: int
    key: str
    group: str


def propose_groups(keys: pl.Series) -> Proposal | None:
    """Find the usual expression that makes groups of these keys; None where none makes several of several keys.

    Whether a group is a slide, nobody can tell from a name: it is a proposal.
    """
    for expression in _USUAL:
        groups = keys.str.extract(expression, 1)
        matched = len(keys) - groups.null_count()
        number = groups.drop_nulls().n_unique()
        if matched >= _MATCHED * len(keys) and 2 <= number <= matched / _MIN_KEYS:
            first = groups.is_not_null().arg_max() or 0
            return Proposal(expression, number, keys[first], groups[first])
    return None


def check_group_regex(expression: str | None) -> None:
    """Refuse an expression that leaves open what the group is, before anything is read.

    Raises:
        HistodsError: it is not valid, or has several groups in parentheses of which none is chosen by a name.
    """
    if expression is not None:
        _capture(expression)


def take_groups(keys: pl.Series, expression: str) -> pl.Series:
    """The group of each key: what the parentheses of the expression match, without any all of it; else null.

    Raises:
        HistodsError: the expression is not valid, or no key matches it.
    """
    groups = keys.str.extract(expression, _capture(expression))
    groups = groups.set(groups == "", None)  # nothing is no slide
    if len(keys) and groups.null_count() == len(keys):
        first = ", ".join(map(repr, keys.head(SHOWN)))
        are = "is" if len(keys) == 1 else "are"
        raise HistodsError(
            f"--group-regex {expression!r} matches none of the {len(keys):,} keys, the first {are} {first}; "
            "correct the expression."
        )
    return groups


def with_groups(samples: pl.DataFrame, expression: str | None) -> pl.DataFrame:
    """Fill `group` from the key where it is null.

    Raises:
        HistodsError: as `take_groups` raises.
    """
    if expression is None:
        return samples
    return samples.with_columns(pl.col("group").fill_null(take_groups(samples.get_column("key"), expression)))


def _capture(expression: str) -> int:
    """Number of the group in parentheses that counts, as the engine numbers them; 0 for the whole match."""
    try:
        names = pl.select(pl.lit("").str.extract_groups(expression)).to_series().struct.fields
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("error: ")
        raise HistodsError(
            f"--group-regex {expression!r} is not a regular expression ({reason}); "
            "correct it, for example '^([^_]+)_' for the part before the first '_'."
        ) from error
    named = [name for name in names if not name.isdecimal()]
    if len(names) <= 1:
        return len(names)
    if len(named) != 1 and _NAME not in named:
        raise HistodsError(
            f"--group-regex {expression!r} has {len(names)} groups in parentheses, and nothing says which is the "
            "slide or patient; name that one (?P<group>...), or write the others as (?:...)."
        )
    return names.index(_NAME if _NAME in named else named[0]) + 1
