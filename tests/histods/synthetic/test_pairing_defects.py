"""Every defect of pairing writes files that are there, and names each finding with its own key and path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from histods.synthetic.pairing_defects import PAIRING_DEFECTS
from histods.synthetic.site import Layout, Site
from histods.synthetic.tissue import make_patch

if TYPE_CHECKING:
    from pathlib import Path

    from histods.synthetic.faults import Fault
    from histods.synthetic.pairing_defects import Defect

PATCH = make_patch(1, 4, size=96)


def plant(defect: Defect, folder: Path, layout: Layout) -> list[Fault]:
    site = Site(root=folder / "d", outside=folder / "o", layout=layout, name="slide_1/x", patch=PATCH)
    return defect(site)


@pytest.mark.parametrize("layout", ["suffix", "folders"])
@pytest.mark.parametrize("number", range(len(PAIRING_DEFECTS)))
def test_what_is_planted_is_there(tmp_path: Path, layout: Layout, number: int) -> None:
    faults = plant(PAIRING_DEFECTS[number], tmp_path, layout)
    assert faults
    assert len({*faults}) == len(faults)
    for fault in faults:
        place = tmp_path / "d" / fault.path
        assert place.exists()
        assert fault.path.removesuffix(place.suffix).removesuffix("_mask").replace("masks/", "images/", 1) in (
            fault.key.removesuffix("_mask").replace("masks/", "images/", 1)
        )


def test_duplicates_are_equal_and_one_is_in_another_folder(tmp_path: Path) -> None:
    faults = plant(PAIRING_DEFECTS[-5], tmp_path, "suffix")
    assert {fault.code for fault in faults} == {"duplicate_image"}
    assert len({(tmp_path / "d" / fault.path).read_bytes() for fault in faults}) == 1
    assert len({fault.path.rpartition("/")[0] for fault in faults}) == 2


def test_where_links_are_not_supported_none_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Site, "link", lambda *_: False)
    assert [plant(defect, tmp_path, "suffix") for defect in PAIRING_DEFECTS[-2:]] == [[], []]
