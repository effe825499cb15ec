"""Reproducible members of a USTAR archive (POSIX.1-1988).

Owner, group and time are fixed, so the same files give the same bytes. Names are ASCII and have one dot before the
part, because webdataset splits a member's name at the first dot of its last component.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from histods.errors import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
END = bytes(2 * BLOCK)
_MAX_KEY = 80  # of the 100 bytes of a name; the rest is for the part, such as `.mask.png`
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+")  # most keys, at once
_UNSAFE, _UNSAFE_FOLDER = re.compile(r"[^A-Za-z0-9_-]"), re.compile(r"[^A-Za-z0-9_.-]")
_OWNER = b"0000644\0" + b"0000000\0" * 2  # readable by all, of user and group 0
_TIME = b"%011o\0" % 946_684_800  # 2000-01-01: GNU tar warns of 1970
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(BLOCK - 265)  # an ordinary file, no link
_REST_SUM = sum(_REST) + sum(b" " * 8)  # the checksum's own field counts as spaces


class Member(NamedTuple):
    """A file in an archive: its name and the location of its bytes."""

    name: str
    offset: int
    size: int


def safe_key(key: str) -> str:
    """A sample's name in archives, from its key: ASCII without dots in its last part, at most 80 characters.

    Any other character becomes `_`; if anything changed, 16 hexadecimal digits of the key's digest are added, so
    two keys never share a name.
    """
    if len(key) <= _MAX_KEY and _PLAIN.fullmatch(key):
        return key
    folders, _, name = key.rpartition("/")
    parts = [*(_UNSAFE_FOLDER.sub("_", part) for part in folders.split("/") if part), _UNSAFE.sub("_", name)]
    plain = "/".join("__" if part in (".", "..") else part for part in parts)
    if plain == key and len(plain) <= _MAX_KEY:
        return plain
    # Where a key ends in a folder, or is cut off in one, the last part is a folder's, which may have dots.
    folders, slash, name = plain[: _MAX_KEY - 17].rstrip("/").rpartition("/")
    return f"{folders}{slash}{name.replace('.', '_')}-{xxhash.xxh3_64_hexdigest(key.encode())}"


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member: a regular file, readable by all, dated 2000."""
    start = name.encode("ascii").ljust(100, b"\0") + _OWNER + b"%011o\0" % size + _TIME
    # The low half of Adler-32 is 1 + the sum of the bytes, in a fifth of the time of `sum`.
    return b"%b%06o\0 %b" % (start, (zlib.adler32(start) & 0xFFFF) - 1 + _REST_SUM, _REST)


def padding(size: int) -> bytes:
    """Zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


def stored_size(size: int) -> int:
    """Bytes that a member of `size` bytes occupies in an archive."""
    return BLOCK + size + (-size % BLOCK)


def iter_members(content: memoryview) -> Iterator[Member]:
    """Iterate over the members of an archive that this module wrote.

    Raises:
        UnreadableFileError: a header is damaged, or the archive ends too early.
    """
    place = 0
    while place + BLOCK <= len(content):
        head = bytes(content[place : place + BLOCK])
        if not any(head):
            if bytes(content[place:]) != END:
                raise UnreadableFileError(f"no proper end at byte {place:,}")
            return
        name = head[:100].rstrip(b"\0")
        try:
            size = int(head[124:135], 8)
        except ValueError:
            size = -1
        if size < 0 or not name.isascii() or header(name.decode("ascii"), size) != head:
            raise UnreadableFileError(f"the header at byte {place:,} is damaged")
        if place + stored_size(size) > len(content):
            break
        yield Member(name.decode("ascii"), place + BLOCK, size)
        place += stored_size(size)
    raise UnreadableFileError(f"truncated after {place:,} bytes")
