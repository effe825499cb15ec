"""Names of samples in a folder without subfolders: ASCII, unique in any case of letters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import xxhash

from histods.errors import HistodsError
from histods.shards.images.tar import safe_key

if TYPE_CHECKING:
    from collections.abc import Sequence


def flat_names(keys: Sequence[str]) -> list[str]:
    """A file name without suffix for each key, of at most 97 characters.

    Characters other than letters, digits, `_` and `-` become `_`, as does what stands between folders. Where that
    gives several keys one name, in capitals or not, and where `safe_key` had to change the key, 16 hexadecimal
    digits of the key's digest are added.

    Raises:
        HistodsError: two keys still have one name, because one of them ends in the other's digest.
    """
    names = [_flat(key) for key in keys]
    times = Counter(name.lower() for name in names)
    names = [
        name if times[name.lower()] == 1 else f"{name}-{xxhash.xxh3_64_hexdigest(key.encode())}"
        for name, key in zip(names, keys, strict=True)
    ]
    taken = dict[str, str]()
    for name, key in zip(names, keys, strict=True):
        if taken.setdefault(name.lower(), key) != key:
            raise HistodsError(
                f"{taken[name.lower()]} and {key} would both be {name}; rename one and audit again."
            )
    return names


def _flat(key: str) -> str:
    """The safe key in one part; dots of folders are replaced, too, since tools cut names at dots."""
    name = safe_key(key).replace("/", "_").replace(".", "_")
    return f"x{name}" if name.startswith("-") else name
