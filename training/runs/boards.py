"""Dashboards for a run, in addition to its `metrics.jsonl`: TensorBoard, Weights & Biases, MLflow.

A board is a class in this module and an entry in `BOARDS`; `run.boards` selects them.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

from histods.errors import HistodsError, MissingExtraError
from histods.io.atomic import write_json
from histods.io.workspace import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


_PROJECT = "histods"
_IDS = "boards.json"  # in a run's folder: the run's ID on each board
_MAX_METRICS = 1000  # per call to MLflow
_MAX_WAITING = 1000  # calls with some lines each
_PATIENCE_SECONDS = 30.0


class Board(Protocol):
    """Shows numbers and pictures of a run."""

    def numbers(self, steps: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Show numbers by name after some steps."""

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Show a picture, uint8 [H, W, 3]."""

    def close(self, *, finished: bool) -> None:
        """Flush pending writes, and mark the run as finished or as stopped early."""


class TensorBoard:
    """Event files in `tensorboard/` of a run's folder; hides what a killed run wrote after `step`.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:  # noqa: ARG002 - as all boards
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def numbers(self, steps: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Show numbers by name."""
        for step, values in steps:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Show a picture."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 - files know no status
        """Flush."""
        self._writer.close()


class WeightsAndBiases:
    """A run in the project `histods` with the settings as its configuration; it resumes when training does.

    Its environment variables apply: `WANDB_MODE=offline` keeps everything in `wandb/` of the run's folder.

    Raises:
        ImportError: it is not installed.
        HistodsError: it cannot start, for example because no user is logged in.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        import wandb

        number = _known(folder, "wandb") if step else None
        try:
            self._run = wandb.init(
                project=_PROJECT,
                name=folder.name,
                id=number or secrets.token_hex(8),
                resume="allow",
                dir=str(folder),
                config=dict(settings),
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())[:200]
            raise HistodsError(
                f"Weights & Biases could not be started ({reason}): run 'wandb login', set WANDB_MODE=offline, or "
                "remove wandb from run.boards."
            ) from error
        _keep(folder, "wandb", self._run.id)
        self._picture = wandb.Image

    def numbers(self, steps: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Show numbers by name."""
        for step, values in steps:
            self._run.log(dict(values), step=step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Show a picture."""
        self._run.log({name: self._picture(pixels)}, step=step)

    def close(self, *, finished: bool) -> None:
        """End the run; the process of Weights & Biases may write the last lines a moment later."""
        self._run.finish(exit_code=0 if finished else 1)


class MLflow:
    """A run in the experiment `histods` with the settings as parameters; it resumes when training does.

    `MLFLOW_TRACKING_URI` sets where, as usual with MLflow.

    Raises:
        ImportError: it is not installed.
        HistodsError: its store or server cannot be used.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        self._metric = Metric
        self._client = MlflowClient()
        try:
            number = _known(folder, "mlflow") if step else None
            if number is None:
                experiment = self._client.get_experiment_by_name(_PROJECT)
                home = experiment.experiment_id if experiment else self._client.create_experiment(_PROJECT)
                number = self._client.create_run(home, run_name=folder.name).info.run_id
                parameters = [Param(key, str(value)) for key, value in settings.items()]
                self._client.log_batch(number, params=parameters)
            else:
                self._client.update_run(number, status="RUNNING")
        except MlflowException as error:
            reason = " ".join(str(error).split())[:200]
            raise HistodsError(
                f"MLflow could not be started ({reason}): set MLFLOW_TRACKING_URI, or remove mlflow from "
                "run.boards."
            ) from error
        self._run = number
        _keep(folder, "mlflow", number)

    def numbers(self, steps: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Show numbers by name."""
        now = int(time.time() * 1000)
        metrics = [
            self._metric(name, value, now, step) for step, values in steps for name, value in values.items()
        ]
        for first in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(self._run, metrics=metrics[first : first + _MAX_METRICS])

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Store a picture among the run's files."""
        self._client.log_image(self._run, pixels, artifact_file=f"{name}/step-{step:08d}.png")

    def close(self, *, finished: bool) -> None:
        """Mark the run as finished or as stopped early."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")


BOARDS: dict[str, Callable[[Path, Mapping[str, Any], int], Board]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""Each takes the run's folder, its settings by `section.key`, and the step to resume at."""


class Boards:
    """Calls boards in a thread, so that no step waits for a server and no run stops because a server fails."""

    def __init__(self, boards: list[Board], say: Callable[[str], None] | None) -> None:
        self._boards = boards
        self._say = say
        self._calls: Queue[Callable[[Board], None] | None] = Queue(_MAX_WAITING)
        self._thread = Thread(target=self._work, name="boards", daemon=True)
        self._thread.start()

    def tell(self, call: Callable[[Board], None]) -> None:
        """Queue a call to all boards; drop it if they are too far behind."""
        with suppress(Full):
            self._calls.put_nowait(call)

    def end(self, *, finished: bool) -> None:
        """Close the boards after all queued calls; stop waiting after a while."""
        self.tell(lambda board: board.close(finished=finished))
        with suppress(Full):
            self._calls.put(None, timeout=_PATIENCE_SECONDS)
        self._thread.join(_PATIENCE_SECONDS)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            for board in tuple(self._boards):
                try:
                    call(board)
                except Exception as error:  # of other libraries: anything
                    self._boards.remove(board)
                    if self._say is not None:
                        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                        self._say(f"{type(board).__name__} failed ({reason}); the run continues without it.")


def open_boards(names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int) -> list[Board]:
    """Open the boards of a run; TensorBoard, the default, is skipped if it is not installed.

    Raises:
        MissingExtraError: another board is not installed.
        HistodsError: a board cannot start.
    """
    boards: list[Board] = []
    try:
        for name in names:
            try:
                boards.append(BOARDS[name](folder, settings, step))
            except ImportError as error:
                if name != "tensorboard":
                    raise MissingExtraError(
                        f'run.boards names {name}, which is not installed; run "pip install histods[{name}]".'
                    ) from error
    except HistodsError:
        for board in boards:
            board.close(finished=False)
        raise
    return boards


def _known(folder: Path, board: str) -> str | None:
    """The ID of the run on a board; None if it has none."""
    number = read_json(folder / _IDS).get(board) if (folder / _IDS).is_file() else None
    return None if number is None else str(number)


def _keep(folder: Path, board: str, number: str) -> None:
    numbers = read_json(folder / _IDS) if (folder / _IDS).is_file() else {}
    write_json(folder / _IDS, numbers | {board: number})
