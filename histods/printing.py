"""How results show themselves: a short table of text at a prompt, and the same as HTML in a notebook."""

from __future__ import annotations

import html
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")
MAX_ROWS = 10
MAX_ITEMS = 6
WIDEST = 72
"""Rows of the table, items of a list and characters of a cell that are shown; the rest is counted."""
_WIDEST_CELL = 40  # of the lower table, which has several columns


class _Facts(NamedTuple):
    """What is shown of a result: its facts, the columns and rows of its table, and the rows left out."""

    facts: list[tuple[str, str]]
    columns: list[str]
    rows: list[list[str]]
    left: int
    numbers: list[bool]


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 pixel", "12,345 pixels"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printed(*, table: str | None = None, hide: Sequence[str] = ()) -> Callable[[type[T]], type[T]]:
    """Let a dataclass show itself as a short table, whatever it holds.

    Args:
        table: field or property with rows (records, named tuples or a DataFrame), shown below the other fields.
        hide: fields that are not shown.
    """

    def decorate(cls: type[T]) -> type[T]:
        def text(self: T) -> str:
            return _to_text(type(self).__name__, _facts(self, table, hide))

        def page(self: T) -> str:
            return _to_html(type(self).__name__, _facts(self, table, hide))

        for name, method in (("__repr__", text), ("_repr_html_", page)):
            setattr(cls, name, method)
        return cls

    return decorate


def _facts(result: Any, table: str | None, hide: Sequence[str]) -> _Facts:
    values = {
        field.name: getattr(result, field.name)
        for field in fields(result)
        if field.name != table and field.name not in hide
    }
    facts = [(name.replace("_", " "), _brief(value)) for name, value in values.items() if not _says_nothing(value)]
    columns, rows, left = _rows_of(getattr(result, table)) if table else ([], [], 0)
    numbers = [all(isinstance(row[place], int | float | None) for row in rows) for place in range(len(columns))]
    cells = [[_brief(cell, _WIDEST_CELL) for cell in row] for row in rows]
    return _Facts(facts, [name.replace("_", " ") for name in columns], cells, left, numbers)


def _rows_of(value: Any) -> tuple[list[str], list[list[Any]], int]:
    """Columns and first rows of records of one kind, or of a DataFrame, and how many more there are."""
    if hasattr(value, "iter_rows"):
        return list(value.columns), [list(row) for row in value.head(MAX_ROWS).iter_rows()], _left(len(value))
    records = list(islice(value, MAX_ROWS))
    if not records:
        return [], [], 0
    columns = _names(records[0])
    return columns, [[getattr(record, name) for name in columns] for record in records], _left(len(value))


def _left(number: int) -> int:
    return max(0, number - MAX_ROWS)


def _names(record: Any) -> list[str]:
    return list(record._fields) if hasattr(record, "_fields") else [field.name for field in fields(record)]


def _says_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict | frozenset) and not value)


def _brief(value: Any, widest: int = WIDEST) -> str:
    """A value in one short line."""
    text = _describe(value)
    plain = "".join(mark if mark.isprintable() else "\ufffd" for mark in text)
    return plain if len(plain) <= widest else f"{plain[: widest // 2]}…{plain[len(plain) - widest // 2 + 1 :]}"


def _describe(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str | PurePath):
        return _describe_plain(value)
    if isinstance(value, dict):
        return _listed((f"{key} {_describe_item(item)}" for key, item in value.items()), len(value))
    if is_dataclass(value) or hasattr(value, "_fields"):
        return _describe_record(value)
    if isinstance(value, list | tuple | frozenset | set):
        return _listed(map(_describe_item, value), len(value))
    return type(value).__name__


def _describe_plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if value < 1e4 else f"{value:,.0f}"
    return str(value)


def _describe_record(record: Any) -> str:
    """What a record says in plain values other than 0; of a table, its rows."""
    if hasattr(type(record), "__len__") and not hasattr(record, "_fields"):
        return f"{len(record):,} rows"
    named = ((name, getattr(record, name)) for name in _names(record))
    plain = [(name, value) for name, value in named if isinstance(value, str | int | float | PurePath)]
    some = [(name, value) for name, value in plain if value != 0] or plain
    return ", ".join(f"{name.replace('_', ' ')} {_describe_plain(value)}" for name, value in some)


def _describe_item(value: Any) -> str:
    """An item of a list: a file by its name, a record by the first thing that it says, a list by its values."""
    if isinstance(value, PurePath):
        return value.name
    if is_dataclass(value) or hasattr(value, "_fields"):
        names = ("name", "code", *_names(value))
        return str(next((getattr(value, name) for name in names if hasattr(value, name)), ""))
    if isinstance(value, list | tuple | frozenset):
        return f"({', '.join(map(_describe_item, islice(value, MAX_ITEMS)))})"
    return _describe(value) if not isinstance(value, dict) else type(value).__name__


def _listed(items: Iterable[str], number: int) -> str:
    more = f", … ({number:,})" if number > MAX_ITEMS else ""
    return ", ".join(islice(items, MAX_ITEMS)) + more


def _to_text(title: str, shown: _Facts) -> str:
    width = max((len(name) for name, _ in shown.facts), default=0)
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in shown.facts)]
    if shown.rows:
        cells = [shown.columns, *shown.rows]
        widths = [max(len(row[place]) for row in cells) for place in range(len(shown.columns))]
        lines.append("")
        for row in cells:
            aligned = (
                cell.rjust(size) if number else cell.ljust(size)
                for cell, size, number in zip(row, widths, shown.numbers, strict=True)
            )
            lines.append(f"  {'  '.join(aligned)}".rstrip())
    if shown.left:
        lines.append(f"  … {shown.left:,} more")
    return "\n".join(lines)


def _to_html(title: str, shown: _Facts) -> str:
    facts = "".join(f"<tr><th>{html.escape(name)}</th>{_cell(value)}</tr>" for name, value in shown.facts)
    parts = [f"<table><caption>{html.escape(title)}</caption>{facts}</table>"]
    if shown.rows:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in shown.columns)
        rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown.rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    if shown.left:
        parts.append(f"<p>… {shown.left:,} more</p>")
    return "".join(parts)


def _cell(text: str) -> str:
    return f"<td>{html.escape(text)}</td>"


def escaped(text: str) -> str:
    r"""Text as it is, but for what steers a terminal or cannot be seen: `\x1b`, `\n`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)
