"""`suffix`: a file gets the suffix of the format that its first bytes tell.

Proof: the format is known, and whoever plans the repair checks that the renamed files still pair and that no other
file has the new name.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from histods.errors import UnreadableFileError
from histods.images.formats import FORMATS, sniff
from histods.remedies.base import RefusedError, Remedy, Repaired

if TYPE_CHECKING:
    from histods.remedies.base import Source


LONGEST_NAME = 255  # bytes, on all common file systems


def repair(source: Source) -> Repaired:
    """Keep the bytes and name the right suffix."""
    try:
        name = sniff(source.content[:12])
    except UnreadableFileError as error:
        raise RefusedError("the file cannot be read", str(error)) from error
    found = next(one for one in FORMATS if one.name == name)
    old = PurePosixPath(source.path).suffix
    if old.lower() in found.suffixes:
        raise RefusedError("its suffix is right")
    if not source.is_mask and not found.images:
        raise RefusedError(f"its content is {name}, which is no format of images; convert it")
    new = found.suffixes[0].upper() if old.isupper() else found.suffixes[0]
    if len(os.fsencode(PurePosixPath(source.path).with_suffix(new).name)) > LONGEST_NAME:
        raise RefusedError(f"its name with the suffix {new} would be longer than {LONGEST_NAME} bytes")
    return Repaired(source.content, f"{old} with {name} content", new, suffix=new)


REMEDY = Remedy(
    name="suffix",
    repairs=("suffix_mismatch",),
    summary="Renames files to the suffix of their content.",
    repair=repair,
)
