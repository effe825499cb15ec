"""Files of label maps, and the line with which one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from histods.errors import HistodsError
from histods.labels.label_map import LabelTable
from histods.labels.label_map_file import read_label_map

SEE = "see the bundled label_map_10.yml"
NAMES = LabelTable(names={0: "background", 3: "tumour", 4: "tumour", 9: "stroma"})


def write(folder: Path, text: str | bytes, name: str = "map.yml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    """The message of the refusal, with FILE for the path."""
    with pytest.raises(HistodsError) as error:
        read_label_map(path, NAMES)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE")
