"""The settings of sampling: sampler, steps, guidance and others, their ranges, and how they are recorded."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from histods.errors import HistodsError
from histods.printing import counted
from training.diffusion.levels import Levels

if TYPE_CHECKING:
    from training.config.sections import DiffusionConfig

Sampler = Literal["dpm", "ddim", "unipc"]
SOLVER_STEPS = 25
"""Default steps of DPM-Solver++(2M) and UniPC; Lu et al. (2022) find 15 to 20 sufficient."""
_NAMES = {"dpm": "DPM-Solver++(2M)", "ddim": "DDIM", "unipc": "UniPC"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The settings of sampling.

    Attributes:
        sampler: `dpm`, DPM-Solver++(2M), `ddim`, or `unipc`.
        steps: number of sampling steps.
        guidance: null + guidance (conditional - null); 1 means no guidance.
        eta: noise that DDIM adds in each step, 0 (none) to 1 (as much as DDPM).
        reference: sample like the reference, with one guided pass per class, composed by the mask.
        guidance_interval: the shares of noise between which to guide; see `guidance.levels_within`.
        guidance_rescale: share of the deviation to give back after guidance; see `guidance.rescaled`.
        levels: how noise levels are spaced: evenly (`time`), or evenly in log SNR (`log-snr`).
    """

    sampler: Sampler
    steps: int
    guidance: float
    eta: float
    reference: bool
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    guidance_rescale: float = 0.0
    levels: Levels = "time"

    @classmethod
    def of(
        cls,
        config: DiffusionConfig,
        *,
        sampler: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        eta: float | None = None,
        reference: bool = False,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
        levels: Levels = "time",
        guided_by_run: bool = False,
    ) -> Sampling:
        """Fill in what was not given, to suit the sampler or as in the reference.

        `guided_by_run` says that another run guides.

        Raises:
            HistodsError: a value is out of range, or values contradict each other.
        """
        chosen = sampler or ("ddim" if reference else "dpm")
        if steps is None:
            steps = config.sampling_timesteps if chosen == "ddim" else min(SOLVER_STEPS, config.timesteps)
        if eta is None:
            eta = 1.0 if reference and chosen == "ddim" else 0.0
        if guidance is None:
            guidance = config.guidance_scale
        low, high = guidance_interval
        _expect(chosen in _NAMES, "--sampler", "dpm, ddim or unipc", chosen, "choose one")
        _expect(levels in get_args(Levels), "--levels", "time or log-snr", levels, "choose one")
        most = config.timesteps
        _expect(1 <= steps <= most, "--steps", f"from 1 to {most}", steps, "25 suit dpm and unipc, 50 to 250 ddim")
        _expect(0 <= guidance <= 100, "--guidance", "from 0 to 100", guidance, "3 is usual, 1 is none")
        _expect(0 <= eta <= 1, "--eta", "from 0 to 1", eta, "0 adds no noise, 1 as much as DDPM")
        _expect(eta == 0 or chosen == "ddim", "--eta", f"0 with --sampler {chosen}", eta, "leave one out")
        _expect(
            0 <= low < high <= 1,
            "--guidance-interval",
            "two shares of noise, LOW:HIGH, with 0 <= LOW < HIGH <= 1",
            f"{low:g}:{high:g}",
            "0 is no noise, 1 pure noise, 0:1 all levels",
        )
        _expect(
            0 <= guidance_rescale <= 1,
            "--guidance-rescale",
            "from 0 to 1",
            guidance_rescale,
            "0 changes nothing, 1 gives back all of the deviation",
        )
        made = cls(
            sampler=chosen,
            steps=steps,
            guidance=guidance,
            eta=eta,
            reference=reference,
            guidance_interval=(float(low), float(high)),
            guidance_rescale=float(guidance_rescale),
            levels=levels,
        )
        options = [name for name in ("guidance_interval", "guidance_rescale") if name in made.recipe()]
        for name in [*options, "guide"] if guided_by_run else options:
            option = f"--{name.replace('_', '-')}"
            _together(
                not reference, f"{option} cannot be used with --reference, which guides as DiffInfinite does"
            )
            _together(guidance != 1, f"{option} has no effect with guidance 1, which is none")
        _together(levels == "time" or not reference, "--levels log-snr is not how --reference samples")
        return made

    def recipe(self) -> dict[str, Any]:
        """The settings as plain values; those of later versions only where they change the images.

        So images that an earlier version made have the same recipe as those of a call with the same options.
        """
        values = asdict(self)
        defaults = {entry.name: entry.default for entry in fields(self)}
        kept = {
            name: value for name, value in values.items() if defaults[name] is MISSING or value != defaults[name]
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    def __str__(self) -> str:
        method = _NAMES[self.sampler] + (f", eta {self.eta:g}" if self.sampler == "ddim" else "")
        even = " even in log SNR" if self.levels == "log-snr" else ""
        words = [method, f"{counted(self.steps, 'step')}{even}", f"guidance {self.guidance:g}"]
        if self.guidance_interval != (0.0, 1.0):
            words.append("guided at {:g} to {:g} of noise".format(*self.guidance_interval))
        if self.guidance_rescale:
            words.append(f"rescaled by {self.guidance_rescale:g}")
        if self.reference:
            words.append("one pass per class")
        return ", ".join(words)


def _expect(fits: bool, name: str, condition: str, found: object, advice: str) -> None:
    if not fits:
        raise HistodsError(f"{name} is {found}; it must be {condition}: {advice}.")


def _together(fits: bool, problem: str) -> None:
    if not fits:
        raise HistodsError(f"{problem}; leave one out.")
