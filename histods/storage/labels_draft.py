"""The draft of a labels file on disk: never in the dataset, never over another file."""

from __future__ import annotations

from pathlib import Path

from histods.errors import HistodsError
from histods.storage.atomic import write_text

_SUFFIXES = (".yml", ".yaml")


def check_draft_path(file: str | Path, root: Path) -> Path:
    """The path of a draft that can be written.

    Args:
        file: as the user gave it.
        root: the dataset's folder, resolved.

    Raises:
        HistodsError: the path exists, lies in the dataset, or does not end like a YAML file.
    """
    path = Path(file)
    problem = None
    if path.suffix.lower() not in _SUFFIXES:
        problem = f"{path.name!r}; labels files are YAML: choose a name that ends in .yml"
    elif path.exists() or path.is_symlink():
        problem = f"something there already ({path}); move it away or choose another name"
    elif path.resolve().is_relative_to(root):
        problem = f"a place inside the dataset ({path}), which is never written to; choose a path outside it"
    if problem:
        raise HistodsError(f"Expected the path of a new YAML file for --write-labels, found {problem}.")
    return path


def write_draft(path: Path, text: str | None, root: Path) -> None:
    """Write a draft in one step.

    Raises:
        HistodsError: there is nothing to write, or the path exists by now.
    """
    if text is None:
        raise HistodsError(
            "Expected masks with colours or labels to draft a labels file from, found none; "
            "see the audit's findings for what is wrong with them."
        )
    write_text(check_draft_path(path, root), text)
