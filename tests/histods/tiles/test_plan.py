"""What is to be cut: where tiles go, what changes the digest, and how images are shared out."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.tiles.cut import TileOptions, TileTask
from histods.tiles.plan import chunk_tasks, digest_plan, plan_tiles

OPTIONS = TileOptions(
    root="/data",
    folder="/tiles",
    size=64,
    stride=64,
    edge="shift",
    pad_label=0,
    keep_blank=False,
    audit="histods audit",
)


def task(
    key: str = "a", *, mask: str | None = "a_mask.png", image: str | None = None, side: int = 100
) -> TileTask:
    return TileTask(
        key=key, target="", width=side, height=side, image_path=image or f"{key}.png", image_bytes=5,
        image_mtime_ns=6, mask_path=mask, mask_bytes=7, mask_mtime_ns=8, labels=[0, 1], pixels=[9000, 1000],
    )  # fmt: skip


def targets(*tasks: TileTask) -> list[str]:
    return [each.target for each in plan_tiles(pl.DataFrame([each._asdict() for each in tasks]))]


def test_pairs_and_images_without_masks_go_to_folders_of_their_own() -> None:
    assert targets(task("s/a"), task("s/b", mask=None)) == ["pairs/s/a", "unconditional/s/b"]


def test_a_folder_beside_the_dataset_stays_below_that_of_the_tiles() -> None:
    assert targets(task("../more/a", mask=None)) == ["unconditional/beside/more/a"]


def test_two_images_never_share_a_folder() -> None:
    first, second = task("../a", mask=None, image="../a.png"), task("beside/a", mask=None, image="beside/a.png")
    with pytest.raises(HistodsError, match=r"The tiles of \.\./a\.png and beside/a\.png would all go to uncond"):
        targets(first, second)


def test_all_that_bears_on_the_bytes_changes_the_digest_and_nothing_else_does() -> None:
    same = digest_plan([task()], OPTIONS)
    assert digest_plan([task()], replace(OPTIONS, folder="/other", root="/moved", audit="x")) == same
    others = [
        replace(OPTIONS, size=32), replace(OPTIONS, stride=32), replace(OPTIONS, edge="pad"),
        replace(OPTIONS, pad_label=1), replace(OPTIONS, keep_blank=True), replace(OPTIONS, nearest=True),
        replace(OPTIONS, colours={1: (255, 0, 0)}),
    ]  # fmt: skip
    changed = [task()._replace(image_mtime_ns=7), task()._replace(labels=[0, 2]), task("b")]
    digests = [digest_plan([task()], options) for options in others]
    digests += [digest_plan([each], OPTIONS) for each in changed] + [digest_plan([task(), task("b")], OPTIONS)]
    assert len({same, *digests}) == 1 + len(digests)


def test_the_order_of_colours_does_not_matter() -> None:
    colours = {1: (1, 2, 3), 2: (4, 5, 6)}
    turned = dict(reversed(colours.items()))
    first, second = (replace(OPTIONS, colours=each) for each in (colours, turned))
    assert digest_plan([task()], first) == digest_plan([task()], second)


@given(sides=st.lists(st.integers(1, 6000), max_size=40), workers=st.integers(1, 8))
def test_chunks_hold_all_images_in_their_order_and_end_once_they_are_large(sides: list[int], workers: int) -> None:
    tasks = [task(str(number), side=side) for number, side in enumerate(sides)]
    chunks = list(chunk_tasks(tasks, workers))
    assert [each for chunk in chunks for each in chunk] == tasks
    assert all(chunks)
    for chunk in chunks:
        assert sum(each.width * each.height for each in chunk[:-1]) < 16 << 20


def test_many_small_images_are_shared_out_in_hundreds() -> None:
    assert max(len(chunk) for chunk in chunk_tasks([task(side=1)] * 100_000, 1)) == 256
