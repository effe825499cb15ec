"""Defects of missing, competing, copied or linked files; each plants its sample and returns its findings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from histods.synthetic.faults import Fault
from histods.synthetic.files import encode
from histods.synthetic.palette import colour_table
from histods.synthetic.site import Site, without_suffix

Defect = Callable[[Site], list[Fault]]
"""Writes the files of a sample and returns every finding that they must cause."""


def jpeg_of(site: Site) -> bytes:
    """The sample's image as a JPEG file."""
    return encode(site.patch.image, ".jpg")


def mask_png_of(site: Site) -> bytes:
    """The sample's mask as a PNG file."""
    return encode(site.patch.mask, ".png")


def _orphan_mask(site: Site) -> list[Fault]:
    path = site.write_mask()
    return [site.fault("orphan_mask", path, "its image was never copied", key=without_suffix(path))]


def _missing_mask(site: Site) -> list[Fault]:
    return [site.fault("missing_mask", site.write_image(), "its mask was never copied")]


def _two_images(site: Site) -> list[Fault]:
    site.write_mask()
    paths = [site.write_image(".jpg"), site.write_image(".png")]
    return [site.fault("key_collision", path, "the image in two formats, one mask") for path in paths]


def _two_masks(site: Site) -> list[Fault]:
    """Two masks: the first pairs with the image; the second has its own key."""
    site.write_image()
    pairing, left = site.write_mask(".png"), site.write_mask(".tif")
    note = "the mask in two formats, one image"
    return [
        site.fault("several_masks", pairing, note),
        site.fault("several_masks", left, note, key=without_suffix(left)),
    ]


def _mask_copy(site: Site) -> list[Fault]:
    """A pair, and a copy of its mask as a file manager names it, which in a folder of masks is an orphan."""
    site.write_image()
    path = site.write(f"{without_suffix(site.write_mask())} (1).png", mask_png_of(site))
    code = "looks_like_mask" if site.layout == "suffix" else "orphan_mask"
    return [site.fault(code, path, "a copy of a mask", key=without_suffix(path))]


def _prediction(site: Site) -> list[Fault]:
    """A pair, and a network's prediction for it, saved under the mask's name with an addition."""
    site.write_image()
    predicted = encode(np.roll(site.patch.mask, 3, 1), ".png")
    end = "_prediction_mask.png" if site.layout == "suffix" else "_prediction.png"
    path = site.write(without_suffix(site.write_mask()) + end, predicted)
    return [site.fault("outside_layout", path, "a prediction beside the mask", key=without_suffix(path))]


def _overlay(site: Site) -> list[Fault]:
    """A pair, and a picture of its outlines to look at, in a neighbouring folder."""
    site.write_image()
    site.write_mask()
    mixed = (site.patch.image // 2 + colour_table()[site.patch.mask] // 2).astype(np.uint8)
    path = site.write(f"{without_suffix(site.image_path())}_overlay.png", encode(mixed, ".png"))
    return [site.fault("looks_like_mask", path, "the mask drawn over the image", key=without_suffix(path))]


def _lonely_mask(site: Site) -> list[Fault]:
    """A mask under an image's name, without its own image or mask."""
    path = site.write_image(".png", mask_png_of(site))
    return [site.fault("looks_like_mask", path, "a mask under an image's name")]


def _one_mask_twice(site: Site) -> list[Fault]:
    """The mask of one image, also used for another one."""
    site.write_image()
    other = site.renamed(f"{site.name}_mirrored")
    other.write_image(".jpg", encode(np.ascontiguousarray(site.patch.image[:, ::-1]), ".jpg"))
    note = "one mask under two images"
    return [one.fault("duplicate_mask", one.write_mask(".png", mask_png_of(site)), note) for one in (site, other)]


def _duplicates(copies: int) -> Defect:
    """A pair under `copies` + 1 names, the last of them in the folder of another slide."""

    def plant(site: Site) -> list[Fault]:
        content, mask = jpeg_of(site), mask_png_of(site)
        names = [site.name, *(f"{site.name}_copy{number}" for number in range(1, copies)), f"reexport/{site.name}"]
        twins = [site.renamed(name) for name in names]
        for twin in twins:
            twin.write_mask(".png", mask)
        note = f"the same bytes under {len(names)} names"
        return [twin.fault("duplicate_image", twin.write_image(".jpg", content), note) for twin in twins]

    return plant


def _linked_pair(site: Site) -> list[Fault]:
    faults = []
    for path, content in ((site.image_path(), jpeg_of(site)), (site.mask_path(), mask_png_of(site))):
        if site.link(path, site.write_outside(path, content)):
            faults.append(site.fault("outside_root", path, "a link to a file outside the dataset"))
    return faults


def _linked_folder(site: Site) -> list[Fault]:
    for path, content in ((site.image_path(), jpeg_of(site)), (site.mask_path(), mask_png_of(site))):
        site.write_outside(path, content)
    target = site.image_path().rpartition("/")[0]
    folder = f"{target}_linked_{site.name.rpartition('_x')[2]}"
    if not site.link(folder, site.outside / target):
        return []
    return [site.fault("outside_root", folder, "a link to a folder outside the dataset", key=folder)]


PAIRING_DEFECTS: tuple[Defect, ...] = (
    *[_orphan_mask] * 3,
    *[_missing_mask] * 3,
    *[_two_images, _two_masks, _overlay, _one_mask_twice] * 2,
    *[_mask_copy, _lonely_mask],
    *[_prediction] * 3,
    *[_duplicates(1), _duplicates(2), _duplicates(2)],
    *[_linked_pair, _linked_folder] * 2,
)
