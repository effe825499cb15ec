"""The options of an audit: those of the command and of the function, in `histods.toml` and in `audit.json`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

LayoutKind = Literal["suffix", "folders", "pattern", "csv"]
Verification = Literal["structure", "decode"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditOptions:
    """What decides the result of an audit; each field is described in `histods.audit`."""

    layout: LayoutKind | None = None
    mask_suffix: str = "_mask"
    images_dir: str = "images"
    masks_dir: str = "masks"
    image_pattern: str | None = None
    mask_pattern: str | None = None
    pairs: str | None = None
    unconditional: tuple[str, ...] = ()
    allow_unpaired: bool = False
    labels: str | None = None
    nearest_colour: bool = False
    group_regex: str | None = None
    verify: Verification = "structure"
    hash: bool = False
    quality: bool = False
    set: tuple[str, ...] = ()

    def command(self, root: Path) -> str:
        """The shell command of this audit: without what is as by default, and flags last."""
        words, flags = ["histods", "audit", str(root)], []
        for field in fields(self):
            value, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if value is True:
                flags.append(option)
            elif isinstance(value, tuple):
                words += [word for one in value for word in (option, one)]
            elif value != field.default:
                words += [option, value]
        return shlex.join(words + flags)
