"""Snapshots of two averages during a run, of which averages of any length are made later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from training.runs.checkpoint_writer import CheckpointWriter
from training.runs.post_hoc_ema import LENGTHS, SNAPSHOTS, as_stored, drop_snapshots, find_snapshots
from training.trainer.ema import Ema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from training.config.sections import TrainConfig
    from training.runs.checkpoint import State


class Snapshots:
    """The averages of which a run keeps snapshots; none if `ema.snapshots_every` is 0.

    Checkpoints hold the averages in float32, so a run resumes bit-exactly; snapshots hold them in float16, and are
    never removed with old checkpoints.

    Args:
        config: all settings.
        module: the network with its initial weights.
        folder: the run's folder.
    """

    def __init__(self, config: TrainConfig, module: nn.Module, folder: Path) -> None:
        self._config, self._folder, self._every = config, folder, config.ema.snapshots_every
        self._writer = CheckpointWriter(folder, SNAPSHOTS)
        self._averages = {
            part: Ema(replace(config.ema, kind="power", sigma_rel=length), module)
            for part, length in LENGTHS.items()
            if self._every
        }

    def update(self, module: nn.Module, step: int) -> None:
        """Update the averages with the weights after `step` steps."""
        for average in self._averages.values():
            average.update(module, step)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds of them."""
        return {part: average.tensors for part, average in self._averages.items()}

    def load(self, read: Callable[[str], dict[str, Tensor]]) -> None:
        """Restore the averages from the parts of a checkpoint.

        Raises:
            HistodsError: a part is missing or damaged.
            KeyError: names or shapes are not those of the network.
        """
        for part, average in self._averages.items():
            average.load(read(part))

    def due(self, step: int) -> bool:
        """Whether a snapshot belongs to a step."""
        return self._every > 0 and step > 0 and step % self._every == 0

    def write(self, state: State) -> None:
        """Start to write a snapshot; training continues at the same time.

        Raises:
            HistodsError: the previous snapshot could not be written.
        """
        stored = {part: as_stored(tensors) for part, tensors in self.parts().items()}
        self._writer.begin(state, stored, config=self._config)

    def resume(self, state: State) -> None:
        """Remove snapshots of later steps, and write that of this step if a kill came before it."""
        drop_snapshots(self._folder, state.step)
        if self.due(state.step) and state.step not in dict(find_snapshots(self._folder)):
            self.write(state)

    def wait(self) -> None:
        """Wait until the last snapshot is written.

        Raises:
            HistodsError: it could not be written.
        """
        self._writer.wait()
