"""When shards were last read completely, and whether every byte was as written: `verified.log` beside them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from histods.io.atomic import file_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.shards.base import Series

_LOG = "verified.log"
_WORDS = {True: "sound", False: "damaged"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The last complete reading of the shards as they are described now."""

    time: datetime
    sound: bool


def conclude_verification(shards: Series, problems: Sequence[str]) -> None:
    """Add a line to the log: the time in UTC, the digest of the description, and the outcome.

    Shards may lie in a folder that nobody may write to; then there is no record.

    Raises:
        HistodsError: there are problems.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = f"{now} {file_digest(shards.folder / shards.FILE)} {_WORDS[not problems]}\n"
    with contextlib.suppress(OSError), (shards.folder / _LOG).open("a", encoding="utf-8") as log:
        log.write(line)
    shards.refuse(problems)


def last_verification(shards: Series) -> Verification | None:
    """Read the log; None if these shards were not verified since they were described, or if nothing says so."""
    try:
        lines = (shards.folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        digest = file_digest(shards.folder / shards.FILE)
    except OSError:
        return None
    for line in reversed(lines):
        words = line.split()
        if len(words) == 3 and words[1] == digest and words[2] in _WORDS.values():
            with contextlib.suppress(ValueError):
                time = datetime.fromisoformat(words[0])
                return Verification(time=time.astimezone(UTC), sound=words[2] == _WORDS[True])
    return None
