"""A folder of generated images: pairs that `histods audit` reads, and their provenance in `overview/`.

```
OUT/
  x.png  x_mask.png               an image and the classes it was made for; x-1.png, x-2.png are further images
                                  (or x.tif, for images of any size)
  overview/samples.json           the recipe and a record of each image
  overview/pairs.csv              for `histods audit OUT --pairs`: images of one mask form one group
  overview/contact_sheet.png      coloured masks next to their images
```

The audit recognises a folder with `samples.json` and `contact_sheet.png` as written by histods and skips it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from histods.errors import HistodsError, UnreadableFileError
from histods.io.atomic import file_digest, replacing, write_bytes, write_json, write_text
from histods.io.checked import fit, stays_inside
from histods.io.workspace import read_json
from training.inference.mask_inputs import MASK_ENDING, MaskFile
from training.inference.pictures import write_png
from training.inference.pyramid import write_pyramid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
_OVERVIEW = "overview"
ImageFormat = Literal["png", "tiff"]
_SUFFIXES = {"png": ".png", "tiff": ".tif"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """The record of an image in `samples.json`."""

    image: str
    mask: str
    of: str
    number: int
    seed: int
    width: int
    height: int
    source_digest: str
    image_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One image to make: the `number`-th (from 0) for a mask; `name` is its path in the folder without suffix."""

    mask: MaskFile
    number: int
    name: str
    seed: int
    format: ImageFormat = "png"

    @property
    def image(self) -> str:
        """Path of the image in the folder."""
        return f"{self.name}{_SUFFIXES[self.format]}"

    @property
    def mask_copy(self) -> str:
        """Path of its mask in the folder."""
        return f"{self.name}{MASK_ENDING}.png"


def seed_of(seed: int, name: str, number: int) -> int:
    """The seed of an image, a function of the call's seed, the mask's name and the number only."""
    digest = hashlib.sha256(f"{seed}\0{name}\0{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch's seeds are signed


def plan_items(
    masks: Sequence[MaskFile],
    count: int,
    seed: int,
    format: ImageFormat = "png",  # noqa: A002
) -> list[Item]:
    """The images to make, `count` for each mask.

    Raises:
        HistodsError: two images would have the same name, or one the name of the overview folder.
    """
    items = [
        Item(
            mask=mask,
            number=number,
            name=f"{mask.name}-{number}" if number else mask.name,
            seed=seed_of(seed, mask.name, number),
            format=format,
        )
        for mask in masks
        for number in range(count)
    ]
    taken: dict[str, Item] = {}
    for item in items:
        if item.name.split("/")[0] == _OVERVIEW and "/" in item.name:
            raise HistodsError(
                f"{item.mask.path} is in a folder called {_OVERVIEW}, but that name is reserved for the overview "
                "of the images; rename that folder."
            )
        other = taken.setdefault(item.name, item)
        if other is not item:
            raise HistodsError(
                f"{other.mask.path} and {item.mask.path} would both give the image {item.name}; "
                "rename one of them."
            )
    return items


def digest_of(recipe: object) -> str:
    """SHA-256 of a recipe, or of any other values of JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


class SampleFolder:
    """Reads and writes a folder of generated images.

    Args:
        folder: its path; it need not exist.
        recipe: how images are made and from what, as JSON; images of another recipe are never mixed in.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.folder = folder
        self.contact_sheet = folder / _OVERVIEW / "contact_sheet.png"
        self.record = folder / _OVERVIEW / "samples.json"
        self._recipe = recipe
        self._images: dict[str, dict[str, Any]] = {}

    def claim(self) -> None:
        """Mark the folder as holding images of this recipe, unless it is marked already.

        Raises:
            HistodsError: it holds images of another recipe, or other files.
        """
        if self.record.is_file():
            document = read_json(self.record)
            if document.get("recipe") != self._recipe:
                raise HistodsError(
                    f"{self.folder} holds images of another recipe "
                    f"({_differences(document.get('recipe'), self._recipe)}); choose another folder with --out."
                )
            try:
                records = fit(document.get("images", []), tuple[_Record, ...], "images")
            except ValueError as error:
                raise HistodsError(
                    f"{self.record} is not a record of images ({error}); choose another folder with --out."
                ) from error
            self._images = {record.image: asdict(record) for record in records}
            for torn in self.folder.rglob(".*.part"):  # left by a killed run
                torn.unlink(missing_ok=True)
            return
        stranger = next((path for path in self.folder.rglob("*") if path.is_file() and path.name[0] != "."), None)
        if stranger is not None:
            raise HistodsError(
                f"{self.folder} already holds {stranger}; choose a new folder for the images with --out."
            )
        self._write_record()

    def holds(self, item: Item, classes: NDArray[np.uint8]) -> bool:
        """Whether an image already exists, with these classes as its mask.

        Raises:
            HistodsError: it was made for another mask of this name.
        """
        from histods.images.reader import read_mask

        if not (self.folder / item.image).is_file():
            return False
        try:
            same = np.array_equal(read_mask(self.folder / item.mask_copy).labels, classes)
        except UnreadableFileError:  # make both again
            return False
        if not same:
            raise HistodsError(
                f"{self.folder / item.image} was made for another mask of this name than {item.mask.path}; "
                "choose another folder with --out."
            )
        return True

    def write_pair(self, item: Item, strips: Iterable[NDArray[np.uint8]], classes: NDArray[np.uint8]) -> None:
        """Write an image and its mask; the image appears last, since it shows that both exist.

        Nothing is written if making the image fails.

        Args:
            item: the image.
            strips: its rows from top to bottom, [rows, width, 3].
            classes: the classes of its mask [height, width].

        Raises:
            HistodsError: a file cannot be written.
        """
        from histods.masks.writer import encode_mask

        name = item.image
        try:
            if item.format == "png":
                pixels = np.concatenate(list(strips))
                write_bytes(self.folder / item.mask_copy, encode_mask(classes))
                write_png(self.folder / name, pixels)
            else:
                with replacing(self.folder / name) as temporary:
                    write_pyramid(
                        temporary,
                        strips,
                        item.mask.height,
                        item.mask.width,
                        identity=f"{digest_of(self._recipe)} {item.seed}",
                    )
                    write_bytes(self.folder / item.mask_copy, encode_mask(classes))
        except OSError as error:
            raise HistodsError(
                f"{self.folder / name} could not be written: {error.strerror or error}; make room and run the "
                "same command again to continue."
            ) from error
        self._note(item, file_digest(self.folder / name))

    def forget(self, items: Iterable[Item]) -> None:
        """Drop the records of images, so that `finish` reads their files again."""
        for item in items:
            self._images.pop(item.image, None)

    def finish(self, items: Iterable[Item]) -> list[dict[str, Any]]:
        """Write the record and the table of pairs.

        Returns:
            The records of all images in the folder, by mask and number, including those of earlier calls.
        """
        for item in items:
            if item.image not in self._images:  # made by a call that was killed before it wrote its record
                self._note(item, file_digest(self.folder / item.image))
        self._images = {
            name: image
            for name, image in sorted(self._images.items(), key=lambda entry: (entry[1]["of"], entry[1]["number"]))
            if all(stays_inside(path) and (self.folder / path).is_file() for path in (name, image["mask"]))
        }
        self._write_record()
        table = io.StringIO()
        writer = csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(["image", "mask", "group"])
        writer.writerows([image["image"], image["mask"], image["of"]] for image in self._images.values())
        write_text(self.folder / _OVERVIEW / "pairs.csv", table.getvalue())
        return list(self._images.values())

    def _note(self, item: Item, image_digest: str) -> None:
        self._images[item.image] = {
            "image": item.image,
            "mask": item.mask_copy,
            "of": item.mask.name,
            "number": item.number,
            "seed": item.seed,
            "width": item.mask.width,
            "height": item.mask.height,
            "source_digest": item.mask.digest,
            "image_digest": image_digest,
        }

    def _write_record(self) -> None:
        document = {
            "schema_version": SCHEMA_VERSION,
            "recipe": self._recipe,
            "images": list(self._images.values()),
        }
        write_json(self.record, document)


def _differences(before: Any, now: dict[str, Any]) -> str:
    """Describe the entries in which two recipes differ."""
    if not isinstance(before, dict):
        return "a record without a recipe"
    changed = [
        f"{key} {_short(before.get(key))} instead of {_short(now.get(key))}"
        for key in now | before
        if before.get(key) != now.get(key)
    ]
    return ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value)
    return text[:12] if len(text) == 64 else text[:60]
