"""Classes that a split lacks: counted against a plain count over all samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from histods.classes.coverage import Gap, find_gaps

SAMPLES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 4), st.integers(0, 2), max_size=3), st.integers(0, 2), st.integers(0, 5)
    ),
    min_size=1,
    max_size=8,
)
Sample = tuple[dict[int, int], int, int]


def gaps(samples: list[Sample], *, splits: int = 3, number: int | None = None) -> list[Gap]:
    """The gaps of samples: pixels by class, the split, the unit."""
    held = [sorted(pixels.items()) for pixels, _, _ in samples]
    flat = [entry for entries in held for entry in entries]
    return find_gaps(
        np.array([label for label, _ in flat], np.uint16),
        np.array([pixels for _, pixels in flat], np.uint32),
        np.cumsum([0, *map(len, held)]),
        split_numbers=np.array([side for _, side, _ in samples], np.int64),
        units=np.array([unit for _, _, unit in samples], np.int64),
        splits=splits,
        number=number,
    )


@given(SAMPLES)
def test_gaps_are_those_of_a_plain_count(samples: list[Sample]) -> None:
    found = gaps(samples, number=5)
    expected = []
    for label in range(1, 5):
        holders = [place for place, (pixels, _, _) in enumerate(samples) if pixels.get(label, 0)]
        lacking = tuple(sorted({0, 1, 2} - {samples[place][1] for place in holders}))
        if lacking:
            units = len({samples[place][2] for place in holders})
            expected.append(
                Gap(
                    index=label,
                    splits=lacking,
                    samples=len(holders),
                    units=units,
                    example=holders[0] if holders else -1,
                )
            )
    assert found == expected
    assert gaps(samples) == [gap for gap in expected if gap.samples]


def test_class_0_and_classes_without_a_pixel_are_no_gaps() -> None:
    assert gaps([({0: 9, 2: 0}, 0, 0)]) == []
    assert [gap.index for gap in gaps([({0: 9, 2: 0}, 0, 0)], number=3)] == [1, 2]


def test_no_samples_have_no_gaps_unless_classes_are_asked_for() -> None:
    assert gaps([]) == []
    assert gaps([], number=2) == [Gap(index=1, splits=(0, 1, 2), samples=0, units=0, example=-1)]
