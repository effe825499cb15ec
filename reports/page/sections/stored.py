"""Shards and latents: what there is, whether it belongs to this dataset, and what was checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from histods.errors import HistodsError
from histods.printing import escaped
from histods.shards.images.shard_set import ShardSet
from histods.shards.latents.latent_set import LatentSet
from histods.shards.verified import last_verification
from histods.steps.status import status
from reports.page.section import Content, Missing, Section

if TYPE_CHECKING:
    from reports.page.pictures import Pictures
    from reports.page.source import Source

_TIME = "%Y-%m-%d %H:%M UTC"


def build(source: Source, _: Pictures) -> Content:
    """Describe the shards and the latents of the workspace."""
    space = source.space
    kinds = [
        (kind, folder)
        for kind, folder in ((ShardSet, space.shards), (LatentSet, space.latents))
        if folder.is_dir()
    ]
    if not kinds:
        missing = Missing(reason="There are no shards and no latents yet.", command=f"histods shard{space.option}")
        return Content(missing=missing)
    stages = _stages(source)
    problems: list[str] = []
    sets = []
    for kind, folder in kinds:
        try:
            series = kind.describe(folder)
        except HistodsError as error:
            problems.append(str(error))
            continue
        sets.append(_describe(series, stages.get(kind.WHAT)))
    return Content(values={"sets": sets, "option": space.option}, problems=tuple(problems))


def _stages(source: Source) -> dict[str, Any]:
    """Whether each part is up to date, as `histods status` says."""
    try:
        return {stage.name: stage for stage in status(source.space.folder).parts}
    except HistodsError:
        return {}


def _describe(series: ShardSet | LatentSet, stage: Any) -> dict[str, Any]:
    """One set of shards: its splits, its classes, when it was written and verified, and what was checked now."""
    faults = [*series.check_index(), *series.check_sizes()]
    last = last_verification(series)
    written = datetime.fromtimestamp((series.folder / series.FILE).stat().st_mtime, UTC)
    details = [("label map", escaped(series.map)), ("classes", f"{len(series.classes):,}")]
    if isinstance(series, LatentSet):
        details += [
            ("autoencoder", escaped(series.autoencoder.name)),
            ("latents", f"{series.channels} channels of {series.height} x {series.width}"),
            ("images", f"{series.image_width} x {series.image_height} pixels"),
            ("views of each image", f"{series.views}"),
        ]
    return {
        "what": series.WHAT,
        "folder": escaped(str(series.folder)),
        "written": written.strftime(_TIME),
        "state": None if stage is None else stage.state,
        "detail": None if stage is None else escaped(stage.detail),
        "command": None if stage is None or stage.state == "done" else stage.command,
        "faults": [escaped(fault) for fault in faults],
        "details": details,
        "splits": [
            {"split": escaped(split), "shards": shards, "samples": samples, "megabytes": size / 1e6}
            for split, (shards, samples, size) in sorted(series.splits.items())
        ],
        "verified": None if last is None else (last.time.strftime(_TIME), last.sound),
        "verify": f"{series.COMMAND} --verify",
    }


SECTION = Section(name="stored", title="Shards and latents", build=build)
