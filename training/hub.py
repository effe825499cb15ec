"""Folders of pretrained models: given by path, or fetched from the hub by id."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from histods.errors import HistodsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_folder(name: str, patterns: Sequence[str], *, others: str = "") -> Path:
    """A folder, or the one in which the hub's client keeps the files of a hub id; missing files are downloaded.

    Args:
        name: the folder or the hub id.
        patterns: names of the files that are needed of a hub id.
        others: what else may be given, for the message; with a final space.

    Raises:
        HistodsError: it is neither, or it cannot be downloaded.
        ImportError: the hub's client is not installed.
    """
    if Path(name).is_dir():
        return Path(name)
    if not _HUB_ID.fullmatch(name):
        raise HistodsError(f"There is no folder {name}; check the path, or give {others}a hub id (OWNER/NAME).")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such repository, access denied
        raise HistodsError(
            f"There is no folder {name}, and it cannot be downloaded from the hub either: {one_line(error)}; "
            "download it elsewhere and give its folder."
        ) from error


def one_line(error: Exception) -> str:
    """The start of a library's error message, on one line and without a final dot."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 200 else f"{text[:200]}...").rstrip(".")
