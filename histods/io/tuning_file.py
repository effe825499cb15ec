"""What `tuning.json` holds: written by `histods tune`, and read by whoever draws it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from histods.io.atomic import write_json
from histods.io.workspace import read_as
from histods.printing import counted

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
FILE = "tuning.json"
SETTING = "sampling.json"
"""In the folder of a run: the setting that its last tuning found, if it was better than the untuned one."""
FEWEST_SLIDES = 5
"""Slides below which draws of them say nothing: single images are drawn, and no setting is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialScore:
    """How good the images of a trial are.

    Attributes:
        frechet: Fréchet distance to the real images, by the features of the segmenter.
        dice: mean Dice coefficient of the segmenter against the masks.
    """

    frechet: float
    dice: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One way of sampling.

    Attributes:
        sampler: the sampler.
        levels: how noise levels are spaced.
        steps: sampling steps.
        guidance: scale of guidance.
        guidance_interval: shares of noise between which to guide.
        ema_length: length of the average of weights; None for the run's own.
        forwards: passes through the network per image.
        search: on the masks of the search.
        final: on all masks; None if it did not get that far.
    """

    sampler: str
    levels: str
    steps: int
    guidance: float
    guidance_interval: tuple[float, ...]
    ema_length: float | None
    forwards: int
    search: TrialScore
    final: TrialScore | None

    @property
    def text(self) -> str:
        """The setting in few words."""
        low, high = self.guidance_interval
        words = [
            self.sampler if self.levels == "time" else f"{self.sampler}, {self.levels}",
            counted(self.steps, "step"),
        ]
        words.append("no guidance" if self.guidance == 1 else f"guidance {self.guidance:g}")
        if (low, high) != (0, 1):
            words.append(f"{low:g}:{high:g}")
        if self.ema_length is not None:
            words.append(f"EMA {self.ema_length:g}")
        return ", ".join(words)


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningFile:
    """The document `tuning.json`.

    Attributes:
        schema_version: of this document.
        run: name of the run.
        step: training steps of its weights.
        split: the split of the masks.
        slides: number of their slides.
        images: number of masks of the final comparison.
        search_images: number of masks of the search.
        forwards: most passes through the network per image.
        seed: the seed of sampling, segmenter and draws.
        segmenter_steps: training steps of the segmenter.
        real_dice: mean Dice coefficient of the segmenter on the real images.
        trials: all that was tried, in order; the first is the setting that the run has without tuning.
        best: place of the best trial by the final comparison.
        better: share of bootstrap draws of slides (of images, if slides are few) in which it is better than the
            first; None if it is the first.
        changed: whether it is better by more than chance, and so became the run's setting.
        warnings: sentences about what to be careful with.
    """

    schema_version: int = SCHEMA_VERSION
    run: str
    step: int
    split: str
    slides: int
    images: int
    search_images: int
    forwards: int
    seed: int
    segmenter_steps: int
    real_dice: float
    trials: tuple[Trial, ...]
    best: int
    better: float | None
    changed: bool
    warnings: tuple[str, ...] = ()

    @property
    def few_slides(self) -> bool:
        """Whether the slides are too few to tell that others would give the same."""
        return self.slides < FEWEST_SLIDES

    def write(self, folder: Path) -> Path:
        """Write `tuning.json` to a folder; its path."""
        path = folder / FILE
        write_json(path, asdict(self))
        return path

    @classmethod
    def read(cls, path: Path) -> TuningFile:
        """Read a file.

        Raises:
            HistodsError: it is damaged, or of another version.
        """
        return read_as(cls, path, what="a tuning", advice="tune again")
