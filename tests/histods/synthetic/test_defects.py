"""Any patch can carry any defect, which is in the content of its files, whatever their layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.synthetic.defects import DEFECTS
from histods.synthetic.site import Layout, Site
from histods.synthetic.tissue import Patch, make_patch

if TYPE_CHECKING:
    from pathlib import Path

    from histods.synthetic.faults import Fault
    from histods.synthetic.pairing_defects import Defect


LAYOUTS: tuple[Layout, ...] = ("suffix", "folders")
PATCHES = [make_patch(2, index, size=96) for index in range(2)]


def plant(defect: Defect, folder: Path, layout: Layout, place: int, patch: Patch) -> list[Fault]:
    site = Site(root=folder / "d", outside=folder / "o", layout=layout, name=f"slide/x{place:03d}", patch=patch)
    return defect(site)


def test_the_same_defect_on_the_same_patch_gives_the_same_bytes_in_both_layouts(tmp_path: Path) -> None:
    """What is wrong is in the content, whatever its name."""
    found = []
    for layout in LAYOUTS:
        folder = tmp_path / layout
        planted = [plant(defect, folder, layout, place, PATCHES[0]) for place, defect in enumerate(DEFECTS)]
        files = sorted(path.read_bytes() for path in (folder / "d").rglob("*") if path.is_file())
        found.append(([[fault.code for fault in faults] for faults in planted], files))
    (one, ones), (other, others) = found
    assert ones == others
    differing = {code for a, b in zip(one, other, strict=True) if a != b for code in (*a, *b)}
    assert differing <= {"looks_like_mask", "orphan_mask"}  # a copy of a mask is an orphan in a folder of masks


def test_any_patch_can_carry_any_defect(tmp_path: Path) -> None:
    for place, defect in enumerate(DEFECTS):
        faults = plant(defect, tmp_path / str(place), "suffix", 0, PATCHES[1])
        assert faults
        assert all((tmp_path / str(place) / "d" / fault.path).exists() for fault in faults)
