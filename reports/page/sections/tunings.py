"""Tunings of the runs: which way of sampling was found, against which setting, on what and how certainly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.io.tuning_file import FILE, SETTING, TuningFile
from histods.io.workspace import read_json
from histods.printing import counted, escaped
from reports.page.sections.run_pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from histods.io.workspace import Workspace
    from reports.page.sections.run_pictures import Budget

_SETTINGS = ("sampler", "levels", "steps", "guidance", "guidance_interval", "ema_length")
_PICTURE_SIDE = 1400


def read_tunings(
    space: Workspace, runs: Sequence[str], budget: Budget, problems: list[str]
) -> Iterator[dict[str, Any]]:
    """For each of these runs that was tuned, the tuning of its setting, or else the last one."""
    tunings = list(_read_all(space, problems))
    for run in runs:
        of_run = [(folder, found) for folder, found in tunings if found.run == run]
        setting = _read_setting(space.runs / run / SETTING, problems)
        named = [one for one in of_run if setting is not None and one[0].name == setting.get("tuning")]
        if setting is not None and not named:
            path = space.runs / run / SETTING
            problems.append(f"{path}, the way of sampling in use, is of a tuning that is not in {space.tunings}.")
        if of_run:
            folder, found = (named or of_run)[-1]
            yield {
                "run": escaped(run),
                "name": escaped(folder.name),
                "lines": [(sound, escaped(line)) for sound, line in _conclude(found, setting)],
                "facts": _facts(found),
                "trials": _rows(found),
                "picture": read_picture(folder / "tuning.png", _PICTURE_SIDE, budget, problems)
                if (folder / "tuning.png").is_file()
                else None,
            }


def _read_all(space: Workspace, problems: list[str]) -> Iterator[tuple[Path, TuningFile]]:
    """Folders of tunings and what they hold, the last one last."""
    for path in sorted(space.tunings.glob(f"*/{FILE}"), key=lambda path: (path.stat().st_mtime, path)):
        try:
            found = TuningFile.read(path)
        except HistodsError as error:
            problems.append(str(error))
            continue
        if 0 <= found.best < len(found.trials) and all(len(one.guidance_interval) == 2 for one in found.trials):
            yield path.parent, found
        else:
            problems.append(f"{path} does not hold what was found to be best; tune again.")


def _read_setting(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The setting of a run; None where there is none, or it cannot be read."""
    if not path.exists():
        return None
    try:
        return read_json(path)
    except HistodsError as error:
        problems.append(str(error))
        return None


def _conclude(found: TuningFile, setting: dict[str, Any] | None) -> Iterator[tuple[bool | None, str]]:
    """What a tuning found, and what to be careful with; whether each is sound, or None where it says neither."""
    best, untuned = found.trials[found.best], f"the untuned setting, {found.trials[0].text}"
    draws = "" if found.better is None else f"in {100 * found.better:.1f} % of the bootstrap draws"
    if found.changed and setting is None:
        yield False, f"{best.text} is better than {untuned}, {draws}; but {SETTING} is gone"
    elif found.changed:
        yield True, f"Images are sampled with {best.text}: better than {untuned}, {draws}"
    elif found.best and found.few_slides:
        few = f"but {counted(found.slides, 'slide')} do not show that for others"
        yield None, f"{best.text} is better than {untuned}, in draws of images; {few}"
    elif found.best:
        yield None, f"Nothing beats {untuned}, by more than chance: {best.text} does {draws}"
    else:
        others = counted(len(found.trials) - 1, "other way")
        yield None, f"None of {others} of sampling beats {untuned}"
    as_found = all(setting.get(name) == _plain(getattr(best, name)) for name in _SETTINGS) if setting else False
    if setting is not None and not (found.changed and as_found):
        yield False, f"{SETTING} of the run is not what this tuning found"
    yield from ((False, line) for line in found.warnings)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _facts(found: TuningFile) -> list[tuple[str, str]]:
    return [
        ("weights", f"step {found.step:,}"),
        ("compared on", f"{counted(found.images, 'mask')} of {counted(found.slides, 'slide')}"),
        ("split", escaped(found.split)),
        ("tried", f"{len(found.trials):,}, on {counted(found.search_images, 'mask')}"),
        ("passes per image, at most", f"{found.forwards:,}"),
        ("Dice of real images", f"{found.real_dice:.3f}"),
    ]


def _rows(found: TuningFile) -> list[tuple[str, str, str, str]]:
    """The final comparison: the way of sampling, what it is, Fréchet distance, Dice."""
    return [
        (
            escaped(one.text),
            ", ".join(name for name, is_it in (("untuned", not place), ("best", place == found.best)) if is_it),
            f"{one.final.frechet:.4g}",
            f"{one.final.dice:.3f}",
        )
        for place, one in enumerate(found.trials)
        if one.final is not None
    ]
