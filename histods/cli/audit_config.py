"""Options of an audit that a lab writes once: `histods.toml` in the workspace, or the file of `--config`.

```toml
[audit]
labels = "labels.yml"                # paths are relative to this file
group_regex = '^([^_]+)_'
unconditional = ["/data/unlabelled"]
set = ["checks.blur.sharpness=0.3"]
fail_on = "warning"
```
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from histods.errors import HistodsError
from histods.measurement.audit_options import AuditOptions

NAME = "histods.toml"
_MAX_BYTES = 1 << 20
_OF_THE_COMMAND: Mapping[str, Any] = {
    "fail_on": Literal["error", "warning", "never"],
    "workers": int,
    "labels_shown": int,
}
"""Options of the command alone, with their types."""
_PATHS = ("pairs", "labels", "unconditional")
_WORDS = {str: "a text", bool: "true or false", int: "a number", list: "a list of texts"}


def read_audit_config(config: Path | None, workspace: Path) -> dict[str, object]:
    """Read the options of an audit that a file gives, by the names of the options with underscores.

    Args:
        config: the file; `histods.toml` of the workspace if None, where there is one.
        workspace: the workspace.

    Raises:
        HistodsError: the file is missing or no TOML, or holds what is no option of an audit.
    """
    path = workspace / NAME if config is None else config
    if config is None and not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise HistodsError(f"{path} has over 1 MiB, so it is no file of options; give another with --config.")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HistodsError(f"{path} cannot be read: {error.strerror}; give another file with --config.") from error
    except (ValueError, RecursionError) as error:
        raise HistodsError(f"{path} is not TOML: {error}; correct it.") from error
    for name in document:
        if name != "audit":
            raise HistodsError(
                f"{path}: {name} is not part of a table [audit]; put options of an audit below a line [audit]."
            )
    table = document.get("audit", {})
    if not isinstance(table, dict):
        raise HistodsError(f"{path}: audit is no table; put its options below a line [audit].")
    names = [key.replace("-", "_") for key in table]
    again = next((name for name in names if names.count(name) > 1), None)
    if again is not None:
        raise HistodsError(f"{path}: {again} is given twice; remove one of them.")
    return {name: _checked(path, name, value) for name, value in zip(names, table.values(), strict=True)}


@cache
def _known() -> Mapping[str, tuple[type, tuple[str, ...]]]:
    """The options: of each one its type in TOML, and the words to choose from where there are such."""
    kinds: dict[str, tuple[type, tuple[str, ...]]] = {}
    for name, hint in {**get_type_hints(AuditOptions), **_OF_THE_COMMAND}.items():
        one = next(part for part in get_args(hint) if part is not NoneType) if _may_be_none(hint) else hint
        if get_origin(one) is Literal:
            kinds[name] = str, get_args(one)
        else:
            kinds[name] = list if get_origin(one) is tuple else one, ()
    return kinds


def _may_be_none(hint: object) -> bool:
    return NoneType in get_args(hint)


def _checked(path: Path, name: str, value: object) -> object:
    """The value of an option, with paths as seen from here."""
    known = _known()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise HistodsError(f"{path}: there is no option {name} of an audit; the nearest is {close[0]}.")
    kind, choices = known[name]
    texts = not isinstance(value, list) or all(isinstance(one, str) for one in value)
    if type(value) is not kind or not texts or (isinstance(value, int) and value < 0):
        raise HistodsError(f"{path}: {name} is {value!r}; write {_WORDS[kind]}.")
    if choices and value not in choices:
        raise HistodsError(f"{path}: {name} is {value!r}; write one of {', '.join(choices)}.")
    if name not in _PATHS:
        return value
    return [_from_here(path, one) for one in value] if isinstance(value, list) else _from_here(path, str(value))


def _from_here(path: Path, name: str) -> str:
    """A path of the file as seen from here; what is not beside the file is left for others to look up."""
    beside = path.parent / name
    return str(beside) if beside.exists() else name
