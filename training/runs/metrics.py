"""The metrics of a run: `metrics.jsonl`, one JSON object per line, and what boards show.

Whatever depends on the machine's speed is under `timing`; everything else is reproducible.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from histods.io.atomic import write_text
from training.runs.boards import Boards, open_boards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_TAGS = {
    "loss": "loss/train",
    "rate": "learning rate",
    "gradient_norm": "gradient norm",
    "skipped": "skipped steps",
}


class Metrics:
    """Appends to the metrics of a run; use it in a `with` statement.

    Args:
        folder: the run's folder.
        step: the step to resume at; lines of later steps, which a killed run may have left, are removed.
        boards: names of boards that also show metrics and previews; see `training.runs.boards`.
        settings: the settings of the run, by `section.key`, for boards that show them.
        say: called with a line when a board fails, for example its server; the run continues without it.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        boards: Sequence[str] = ("tensorboard",),
        settings: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(folder) if line["step"] <= step] if step else []
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._boards = Boards(open_boards(boards, folder, settings or {}, step), say)

    def __enter__(self) -> Metrics:
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        self._boards.end(finished=kind is None)

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append lines; each has `kind` and `step`."""
        self._file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._file.flush()
        steps = [(line["step"], dict(_tagged(line))) for line in lines]
        self._boards.tell(lambda board: board.numbers(steps))

    def show(self, preview: NDArray[np.uint8], step: int) -> None:
        """Show a preview, uint8 [H, W, 3] with masks above their images, on the boards."""
        self._boards.tell(lambda board: board.picture("preview", preview, step))


def _tagged(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a line, by the names for boards."""
    for name, tag in _TAGS.items():
        if line.get(name) is not None:
            yield tag, line[name]
    if "timing" in line:
        yield "images per second", line["timing"]["images_per_second"]
    for weights in ("model", "ema"):
        if line.get(weights) is not None:
            yield f"loss/validation {weights}", line[weights]
    losses = line.get("ema_buckets", ())
    for place, loss in enumerate(losses):
        if loss is not None:
            yield f"loss at noise levels/{_share(place, 100 // len(losses))}", loss


def _share(bucket: int, width: int) -> str:
    """A range of noise levels in percent, with two digits so that names sort in order."""
    return f"{bucket * width:02d}-{(bucket + 1) * width:02d} percent"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl` except an incomplete last line; empty if there is no such file."""
    path = folder / "metrics.jsonl"
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:  # a killed run leaves at most an incomplete line
            break
    return lines
