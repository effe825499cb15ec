"""One sample of a synthetic dataset: its names in each layout, its pixels, and how to write it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from histods.io.atomic import write_bytes
from histods.synthetic.faults import Fault
from histods.synthetic.files import encode

if TYPE_CHECKING:
    from histods.synthetic.tissue import Patch

Layout = Literal["suffix", "folders"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The paths and content of a sample.

    Attributes:
        root: the folder being written.
        outside: folder next to the dataset, for the targets of links.
        layout: `suffix` (`x.jpg`, `x_mask.png`) or `folders` (`images/x.jpg`, `masks/x.png`).
        name: path of the sample without the layout's folder and suffix: `slide_03/slide_03_x012_y007`.
        patch: the sample's intact image and mask.
    """

    root: Path
    outside: Path
    layout: Layout
    name: str
    patch: Patch

    @property
    def size(self) -> int:
        """Side of the patch in pixels."""
        return int(self.patch.mask.shape[0])

    @property
    def key(self) -> str:
        """Key of the sample in the manifest."""
        return self.image_path("")

    def image_path(self, suffix: str = ".jpg") -> str:
        """Path of the image in the dataset."""
        return f"images/{self.name}{suffix}" if self.layout == "folders" else f"{self.name}{suffix}"

    def mask_path(self, suffix: str = ".png") -> str:
        """Path of the mask in the dataset."""
        return f"masks/{self.name}{suffix}" if self.layout == "folders" else f"{self.name}_mask{suffix}"

    def write(self, path: str, content: bytes) -> str:
        """Write a file of the dataset and return its path."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return path

    def write_image(self, suffix: str = ".jpg", content: bytes | None = None) -> str:
        """Write the image: the patch in the format of the suffix, or other content under that name."""
        return self.write(
            self.image_path(suffix), encode(self.patch.image, suffix) if content is None else content
        )

    def write_mask(self, suffix: str = ".png", content: bytes | None = None) -> str:
        """Write the mask: the patch's labels in the format of the suffix, or other content under that name."""
        return self.write(self.mask_path(suffix), encode(self.patch.mask, suffix) if content is None else content)

    def link(self, path: str, target: Path) -> bool:
        """Make a relative link below the dataset; False if the platform or file system does not support links."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(os.path.relpath(target, place.parent), target_is_directory=target.is_dir())
        except (OSError, NotImplementedError):
            return False
        return True

    def write_outside(self, path: str, content: bytes) -> Path:
        """Write a file outside the dataset, as the target of a link."""
        target = self.outside / path
        write_bytes(target, content)
        return target

    def renamed(self, name: str) -> Site:
        """The same patch under another name."""
        return replace(self, name=name)

    def fault(self, code: str, path: str, note: str, *, key: str | None = None) -> Fault:
        """A fault of this sample, or of another key."""
        return Fault(code=code, key=self.key if key is None else key, path=path, note=note)


def without_suffix(path: str) -> str:
    """A path without its last suffix."""
    return str(PurePosixPath(path).with_suffix(""))
