"""The mark of a folder of imported annotations.

```
import.json       the source, the options, and the digest of import.parquet (null: unfinished)
import.parquet    one row per image: its files, or why there are none
left_out.csv      one row per annotation that is not in a mask, with the reason
labels.csv        names and colours of labels, for `histods audit --labels`
import.journal    the progress of a killed run
```
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from histods.dataset import filled_folder
from histods.errors import HistodsError
from histods.io.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
MARK, TABLE, LEFT_OUT, LABELS = "import.json", "import.parquet", "left_out.csv", "labels.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportMark:
    """The contents of `import.json`.

    Attributes:
        schema_version: the schema version of this file and of `import.parquet`.
        root: the folder of the images.
        annotations: the file or folder of annotations.
        labels: label of each class.
        plan_digest: digest of the annotations, the names of the images and the options.
        command: the command that makes this folder.
        table_digest: digest of `import.parquet`; None while images are missing.
    """

    schema_version: int
    root: str
    annotations: str
    labels: dict[str, int]
    plan_digest: str
    command: str
    table_digest: str | None


def read_mark(folder: Path) -> ImportMark | None:
    """Read the mark of a folder of imported annotations; None for other folders.

    Raises:
        HistodsError: the file is not a valid mark.
    """
    return filled_folder.read_mark(ImportMark, folder / MARK, "histods import-data")


def check_finished(folder: Path) -> None:
    """Refuse to read a folder of imported annotations that lacks images.

    Raises:
        HistodsError: it does; the message names the command that continues.
    """
    mark = read_mark(folder)
    if mark is not None and mark.table_digest is None:
        raise HistodsError(f"The masks in {folder} are not finished; run '{mark.command}' to continue.")


def write_mark(folder: Path, mark: ImportMark, table_digest: str | None = None) -> None:
    """Write the mark of a folder; without a digest, it means that images are missing."""
    write_json(folder / MARK, asdict(mark) | {"table_digest": table_digest})
