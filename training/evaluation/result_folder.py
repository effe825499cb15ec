"""The folder of an evaluation: not among images, and never of two evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from histods.errors import HistodsError
from histods.io.atomic import write_json
from histods.io.workspace import read_json, refuse_file
from training.inference.output_folder import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histods.io.workspace import Workspace


def check_place(space: Workspace, folder: Path, sources: Sequence[Path]) -> None:
    """Refuse to write an evaluation among the images, or into the dataset.

    Args:
        space: the workspace.
        folder: the folder of the evaluation.
        sources: folders of images that are compared.

    Raises:
        HistodsError: the folder lies in one of them, or is a file.
    """
    refuse_file(folder, "--out")
    for source in sources:
        if folder.resolve().is_relative_to(source.resolve()):
            raise HistodsError(f"{folder} lies in {source}, whose images are compared; choose another --out.")
    if space.audit.is_file():
        space.check_place(folder, "--out", Path(str(read_json(space.audit).get("root"))))


def claim(folder: Path, identity: Sequence[object]) -> None:
    """Mark what a folder is for, unless it is for something else.

    Args:
        folder: the folder of the evaluation, which exists.
        identity: values of JSON that tell this evaluation from others.

    Raises:
        HistodsError: it holds another evaluation, or other files.
    """
    mark = folder / "order.json"
    own = {"identity": digest_of(identity)}
    if mark.is_file():
        if read_json(mark) != own:
            raise HistodsError(
                f"{folder} holds another evaluation; remove it, or choose another folder with --out."
            )
        return
    if any(not path.name.startswith(".") for path in folder.iterdir()):  # the lock, or what a killed call left
        raise HistodsError(f"{folder} holds files of something else; choose another folder with --out.")
    write_json(mark, own)
