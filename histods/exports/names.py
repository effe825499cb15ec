"""Names of samples in a folder without subfolders: ASCII, unique in any case of letters."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import xxhash

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX = 110
"""Characters of a name: with a digest and `_0000.png`, it fits the 143 bytes that encrypted folders allow."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def flat_names(keys: Sequence[str]) -> list[str]:
    """A file name without suffix for each key, of at most 127 characters.

    Characters other than ASCII letters, digits, `_` and `-` become `_`, as do dots, at which tools cut names, and
    what stands between folders. Where that gives several keys one name, in capitals or not, and where it is too
    long, 16 hexadecimal digits of the key's digest are added.

    Raises:
        HistodsError: two keys still have one name, because one of them ends in the other's digest.
    """
    plain = [_UNSAFE.sub("_", key) for key in keys]
    plain = [f"x{name}" if name.startswith("-") else name for name in plain]  # else a name looks like an option
    times = Counter(name.lower() for name in plain)
    taken = dict[str, str]()
    names = []
    for name, key in zip(plain, keys, strict=True):
        found = name
        if len(name) > _MAX or times[name.lower()] > 1:
            found = f"{name[:_MAX]}-{xxhash.xxh3_64_hexdigest(key.encode())}"
        if taken.setdefault(found.lower(), key) != key:
            raise HistodsError(
                f"{taken[found.lower()]} and {key} would both be {found}; rename one and audit again."
            )
        names.append(found)
    return names
