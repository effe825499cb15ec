"""The way of sampling that `histods tune` found for a run: `sampling.json` in its folder.

It replaces defaults only. An option replaces what belongs together with it: guidance and where to guide; the
sampler and its levels; the average of weights. The number of steps was chosen for both guidance and sampler, so it
is used only with them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from histods.errors import HistodsError
from histods.io.atomic import write_json
from histods.io.checked import build
from histods.io.tuning_file import SETTING
from histods.io.workspace import read_json
from training.diffusion.levels import Levels  # noqa: TC001 - read by build
from training.inference.sampling import Sampler, Sampling

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from training.config.sections import DiffusionConfig

_GUIDANCE = frozenset({"guidance", "guidance_interval", "guidance_rescale", "guide", "reference"})
_SOLVER = frozenset({"sampler", "levels", "eta", "reference"})
_REPLACED_BY = {
    "guidance": _GUIDANCE,
    "guidance_interval": _GUIDANCE,
    "sampler": _SOLVER,
    "levels": _SOLVER,
    "steps": _GUIDANCE | _SOLVER | {"steps"},
    "ema_length": frozenset({"ema_length", "weights"}),
}
"""For each tuned setting, the options of `histods sample` that replace it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedSampling:
    """The document `sampling.json`.

    Attributes:
        schema_version: of this document.
        step: training steps of the weights that it was found for.
        sampler: the sampler.
        steps: number of steps.
        guidance: scale of guidance.
        guidance_interval: shares of noise between which to guide.
        levels: how noise levels are spaced.
        ema_length: length of the average of weights; None for the run's own.
        split: the split of the masks that it was found with.
        slides: their slides.
        tuning: name of the tuning, a folder in `tunings` of the workspace.
    """

    schema_version: Literal[1] = 1
    step: int
    sampler: Sampler
    steps: int
    guidance: float
    guidance_interval: tuple[float, ...]
    levels: Levels
    ema_length: float | None
    split: str
    slides: tuple[str, ...]
    tuning: str

    def write(self, run: Path) -> Path:
        """Write it into a run's folder; the file."""
        path = run / SETTING
        write_json(path, asdict(self))
        return path

    @classmethod
    def read(cls, run: Path, config: DiffusionConfig) -> TunedSampling | None:
        """Read that of a run's folder; None if the run was not tuned.

        Raises:
            HistodsError: the file is damaged, or of another version.
        """
        path = run / SETTING
        if not path.exists():
            return None
        advice = "remove it, or run 'histods tune' again"
        document = read_json(path, advice)
        try:
            found = build(cls, document)
            _, _ = found.guidance_interval
            Sampling.of(config, **found.defaults(without={"ema_length"}))
        except (ValueError, HistodsError) as error:
            reason = str(error).rstrip(".")
            raise HistodsError(f"{path} is not a way of sampling this run ({reason}); {advice}.") from error
        return found

    def defaults(self, without: Collection[str] = ()) -> dict[str, Any]:
        """The tuned settings that replace defaults.

        Args:
            without: names of the options of `sample` that were given.
        """
        settings = {
            "sampler": self.sampler,
            "steps": self.steps,
            "guidance": self.guidance,
            "guidance_interval": self.guidance_interval,
            "levels": self.levels,
            "ema_length": self.ema_length,
        }
        if tuple(self.guidance_interval) == (0.0, 1.0):
            del settings["guidance_interval"]
        return {
            name: value
            for name, value in settings.items()
            if value is not None and not _REPLACED_BY[name] & frozenset(without)
        }
