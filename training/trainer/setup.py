"""What the steps, validation and previews of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from training.diffusion.process import Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from training.config.sections import TrainConfig
    from training.data.source import Encoder, Source
    from training.distributed import Process
    from training.latents.latent_space import LatentSpace


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunSetup:
    """Everything that a run needs except its weights.

    Attributes:
        config: all settings, resolved.
        process: this process and its device.
        source: the source of samples.
        encoder: turns batches into latents.
        space: the latent space.
        folder: the folder of the run.
        schedule: the noise schedule, on the device.
    """

    config: TrainConfig
    process: Process
    source: Source
    encoder: Encoder
    space: LatentSpace
    folder: Path
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        schedule = Schedule.of(self.config.diffusion).to(self.process.device)
        object.__setattr__(self, "schedule", schedule)

    @property
    def half(self) -> bool:
        """Whether the network computes in bfloat16."""
        return self.config.run.precision == "bf16"
