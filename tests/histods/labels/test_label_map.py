"""The arithmetic of label maps: nothing is lost, nothing is invented, and two ways give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.errors import HistodsError
from histods.labels.label_map import ClassHistograms, LabelMap, LabelTable, identity_map

Sample = dict[int, int]

LABELS = st.integers(0, 65535)
SAMPLES = st.lists(st.dictionaries(LABELS, st.integers(1, 2**31), max_size=6), max_size=12)


def flatten(samples: list[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    entries = [entry for sample in samples for entry in sorted(sample.items())]
    labels = np.array([label for label, _ in entries], dtype=np.uint16)
    pixels = np.array([count for _, count in entries], dtype=np.uint32)
    return labels, pixels, np.cumsum([0, *map(len, samples)])


def unflatten(histograms: ClassHistograms) -> list[Sample]:
    return [dict(zip(classes, pixels, strict=True)) for classes, pixels in histograms.lists()]


@st.composite
def label_maps(draw: st.DrawFn, *, unmapped: bool = True) -> LabelMap:
    count = draw(st.integers(1, 256))
    of_class = st.integers(0, count - 1)
    return LabelMap(
        name="drawn",
        classes=tuple(f"class {index}" for index in range(count)),
        table=draw(st.dictionaries(LABELS, of_class, max_size=40)),
        unmapped=draw(of_class) if unmapped else None,
    )


@settings(max_examples=50, deadline=None)
@given(label_maps(), SAMPLES)
def test_remapped_histograms_equal_a_loop_over_samples(label_map: LabelMap, samples: list[Sample]) -> None:
    expected = []
    for sample in samples:
        classes: Sample = {}
        for label, count in sample.items():
            index = label_map.table.get(label, label_map.unmapped)
            assert index is not None
            classes[index] = classes.get(index, 0) + count
        expected.append(dict(sorted(classes.items())))
    if any(count > 2**32 - 1 for classes in expected for count in classes.values()):
        with pytest.raises(HistodsError, match="The label map changes the number of pixels"):
            label_map.remap_histograms(*flatten(samples))
        return
    found = label_map.remap_histograms(*flatten(samples))
    assert unflatten(found) == expected
    assert (found.classes.dtype.name, found.pixels.dtype.name) == ("uint16", "uint32")
    assert [list(classes) for classes in unflatten(found)] == [sorted(classes) for classes in expected]


@settings(max_examples=50, deadline=None)
@given(label_maps(), st.lists(st.dictionaries(LABELS, st.integers(1, 262144), max_size=6), max_size=12))
def test_pixels_are_conserved_in_every_sample_and_in_total(label_map: LabelMap, samples: list[Sample]) -> None:
    found = label_map.remap_histograms(*flatten(samples))
    assert [sum(classes.values()) for classes in unflatten(found)] == [sum(s.values()) for s in samples]
    assert found.conditional().tolist() == [any(classes) for classes in unflatten(found)]
    pixels, images = found.totals(len(label_map.classes))
    assert pixels.sum() == sum(sum(sample.values()) for sample in samples)
    assert images.tolist() == [sum(i in c for c in unflatten(found)) for i in range(len(label_map.classes))]


@settings(max_examples=50, deadline=None)
@given(label_maps(), st.lists(LABELS, min_size=1, max_size=20))
def test_the_lookup_table_gives_each_label_its_class(label_map: LabelMap, labels: list[int]) -> None:
    lookup = label_map.lookup()
    assert (lookup.dtype.name, lookup.shape) == ("uint8", (65536,))
    expected = [label_map.table.get(label, label_map.unmapped) for label in labels]
    assert lookup[labels].tolist() == expected


@settings(max_examples=50, deadline=None)
@given(label_maps(unmapped=False), SAMPLES)
def test_labels_without_a_class_are_never_passed_over(label_map: LabelMap, samples: list[Sample]) -> None:
    present = {label for sample in samples for label in sample}
    missing = sorted(present - set(label_map.table))
    labels, pixels, _ = flatten(samples)
    assert label_map.unmapped_labels(labels).tolist() == missing
    if missing:
        with pytest.raises(HistodsError, match=f"leaves out {missing[0]} "):
            label_map.check_mapped(labels, pixels)
    else:
        label_map.check_mapped(labels, pixels)


def test_unmapped_labels_are_listed_with_their_pixels() -> None:
    label_map = LabelMap(name="two", classes=("a", "b"), table={0: 0, 1: 1})
    with pytest.raises(HistodsError) as refusal:
        label_map.remap_histograms(
            np.array([0, 55, 1, 55, 700], np.uint16),
            np.array([4, 2_000_000, 9, 77_058, 3], np.uint32),
            np.array([0, 2, 5]),
        )
    assert str(refusal.value) == (
        "Label map two leaves out 55 (2,077,058 pixels), 700 (3 pixels); "
        "add them to the map, or set 'unmapped: CLASS' in it."
    )


def test_a_flood_of_unmapped_labels_stays_one_readable_line() -> None:
    label_map = LabelMap(name="one", classes=("a",), table={0: 0})
    with pytest.raises(HistodsError, match=r"40 \(1 pixels\), and 160 more; add them") as refusal:
        label_map.check_mapped(np.arange(201, dtype=np.uint16), np.ones(201, np.uint32))
    assert "\n" not in str(refusal.value)


def test_a_sum_that_does_not_fit_is_refused_and_names_the_sample() -> None:
    label_map = LabelMap(name="one", classes=("a",), table={0: 0, 1: 0})
    labels, pixels = np.array([0, 0, 1], np.uint16), np.array([5, 2**32 - 1, 2], np.uint32)
    with pytest.raises(HistodsError) as refusal:
        label_map.remap_histograms(labels, pixels, np.array([0, 1, 3]))
    assert str(refusal.value) == (
        "The label map changes the number of pixels from 4,294,967,297 to 1 in sample 1 (1 in "
        "all); run 'histods audit' again."
    )


def test_the_digest_knows_content_and_neither_order_nor_name() -> None:
    plain = LabelMap(name="x", classes=("a", "b"), table={0: 0, 1: 1})
    # Pinned: a digest that drifts between versions would make every artefact stale.
    assert plain.digest == "cb572c45f66eab0268614dafd14a94ed8505295ac734b18bb47b0d2ea73c9cd7"
    assert LabelMap(name="y", classes=("a", "b"), table={1: 1, 0: 0}).digest == plain.digest
    others = [
        LabelMap(name="x", classes=("a", "c"), table={0: 0, 1: 1}),
        LabelMap(name="x", classes=("a", "b"), table={0: 0, 1: 0}),
        LabelMap(name="x", classes=("a", "b"), table={0: 0, 1: 1}, unmapped=0),
    ]
    assert len({plain.digest, *(other.digest for other in others)}) == 4


def test_classes_without_labels_are_a_warning_unless_other_labels_become_them() -> None:
    classes = ("a", "b", "c")
    assert LabelMap(name="x", classes=classes, table={0: 0, 1: 2}).warnings == (
        "class 1 (b) has no labels in label map x, so no pixel becomes it",
    )
    assert LabelMap(name="x", classes=classes, table={0: 0, 1: 2}, unmapped=1).warnings == ()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            (),
            "Label map x has 0 classes, not 1 to 256; remapped masks have 8 bits: merge classes.",
        ),
        (
            tuple(map(str, range(257))),
            "Label map x has 257 classes, not 1 to 256; remapped masks have 8 bits: merge classes.",
        ),
        (
            ("a", "b", "a"),
            "Label map x calls 2 classes 'a'; rename all but one.",
        ),
    ],
    ids=["none", "too many", "one name twice"],
)
def test_impossible_classes_are_refused(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(HistodsError) as refusal:
        LabelMap(name="x", classes=classes, table={})
    assert str(refusal.value) == message


def test_labels_as_they_are_keep_their_numbers_and_names() -> None:
    names = LabelTable(names={0: "background", 2: "tumour", 3: "tumour"})
    label_map = identity_map([0, 3], names)
    assert label_map.classes == ("background", "label 1", "tumour (2)", "tumour (3)")
    assert label_map.lookup()[:4].tolist() == [0, 1, 2, 3]
    assert (label_map.name, label_map.unmapped, label_map.warnings) == ("labels", None, ())
    assert identity_map([], names).classes == ("background",)
    assert len(identity_map([255], names).classes) == 256


def test_labels_that_need_more_than_8_bits_cannot_stay_as_they_are() -> None:
    with pytest.raises(HistodsError) as refusal:
        identity_map([3, 256], LabelTable(names={}))
    assert str(refusal.value) == (
        "Label 256 is above 255, so the labels cannot stay as they are; give a label map with "
        "--map ('histods remap --draft my_map.yml' writes one to edit)."
    )


def test_a_label_table_names_every_label_and_finds_all_labels_of_a_name() -> None:
    table = LabelTable(names={5: "stroma", 0: "background", 2: "stroma"})
    assert [table.name(label) for label in (0, 1)] == ["background", "label 1"]
    assert table.labels_named("stroma") == (2, 5)
    assert table.labels_named("Stroma") == ()
