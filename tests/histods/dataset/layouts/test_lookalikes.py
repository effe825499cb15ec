"""Names that say that a picture is no image, and names that only seem to."""

from __future__ import annotations

import polars as pl
import pytest

from histods.dataset.layouts import Layout, pair

SUFFIX = Layout(kind="suffix")
PAIRS = [name for place in range(20) for name in (f"s/p{place}.jpg", f"s/p{place}_mask.png")]


def evidence(names: list[str], unconditional: tuple[str, ...] = ()) -> dict[str, tuple[str | None, str | None]]:
    """What names say of each picture that is not in a pair."""
    samples = pair([*names, *unconditional], SUFFIX, list(unconditional)).samples
    lonely = samples.filter(pl.col("image_path").is_null() | pl.col("mask_path").is_null())
    rows = lonely.select(pl.coalesce("image_path", "mask_path"), "derived", "mask_word").iter_rows()
    return {path: (derived, word) for path, derived, word in rows}


@pytest.mark.parametrize(
    "copy",
    [
        "s/p3_mask (1).png",
        "s/p3_mask - Copy.png",
        "s/p3_mask_old.png",
        "s/p3_mask.png.png",
        "s/p3_mask_v2.png",
        "s/p3_mask~.jpg",
        "s/P3_MASK copy.webp",
        "s/p3_mask.bak.tif",
    ],
)
def test_copies_of_masks_are_told_by_the_name_of_the_mask(copy: str) -> None:
    derived, _ = evidence([*PAIRS, copy])[copy]
    assert derived is not None
    assert "the mask s/p3_mask.png" in derived


@pytest.mark.parametrize(
    "made",
    [
        "s/p3_overlay.png",
        "s/p3-pred.PNG",
        "s/p3.heatmap.jpg",
        "s/p3_masks.webp",
        "s/p3_seg_2.jpg",
        "s/p3_Label.webp",
        "s/p3_outline.jpg",
        "s/p3_instanceIds.webp",
        "s/p3_GT.jpg",
        "s/overlay/p3.png",
        "epochs/pred/p3.png",
        "s/contours/p3.jpg",
        "thumbnails/q.jpg",
        "s/visualization/p3.png",
        "masks 2/p3.jpg",
        "s/p3_gradcam.png",
        "s/p3_annotated.jpg",
        "s/p3_errorMap.png",
        "s/p3_result.jpg",
        "s/overlay_p3.jpg",
        "s/seg-p3.jpg",
        "s/contour p3.png",
        "results/p3.jpg",
        "s/attention_maps/p3.jpg",
        "s/p3_Maske.jpg",
        "s/p3_máscara.jpg",
        "s/p3_ma\u0301scara.jpg",
        "s/p3_маска.jpg",
        "s/p3_マスク.jpg",
        "s/p3_라벨.jpg",
        "s/p3_标注.jpg",
        "s/p3_Überlagerung.jpg",
        "Prédictions/p3.jpg",
        "s/q_наложение.jpg",
        "s/q_预测图.jpg",
    ],
)
def test_pictures_made_from_images_are_told_by_their_names(made: str) -> None:
    assert evidence([*PAIRS, made])[made][0] is not None


@pytest.mark.parametrize(
    "image",
    [
        "s/q3.jpg",
        "s/p3_2.jpg",
        "s/p30_x.jpg",
        "s/tumour_edge_3.jpg",
        "s/unmasked_3.jpg",
        "s/nolabel.jpg",
        "s/unlabelled.jpg",
        "s/segovia.jpg",
        "s/predator-1.jpg",
        "s/label-free_3.jpg",
        "t/p3.jpg",
        "s/annotator1.jpg",
        "s/p3_HE.jpg",
        "s/p3_tumour.jpg",
        "s/he_p3.jpg",
        "results/q7.jpg",
        "s/output_7.jpg",
        "s/camera3.jpg",
        "s/mapuche_3.jpg",
        "s/Masquelier_3.jpg",
        "Präparat/p30.jpg",
        "標本/q3.jpg",
    ],
)
def test_other_names_prove_nothing(image: str) -> None:
    assert evidence([*PAIRS, image])[image][0] is None


def test_where_nothing_pairs_a_folder_beside_that_of_the_image_tells() -> None:
    images = [f"images/x{number}.jpg" for number in range(5)]
    assert evidence([*images, "results/x3.jpg"])["results/x3.jpg"][0] is not None
    assert evidence([*images, "b/results/x3.jpg"])["b/results/x3.jpg"][0] is None
    assert evidence(["x3.jpg", "x4.jpg", "annotated/x3.jpg"])["annotated/x3.jpg"][0] is not None
    assert evidence([*images, "results/x3.jpg"])["images/x3.jpg"][0] is None


def test_a_word_that_all_images_have_is_no_evidence() -> None:
    names = [name for i in range(9) for name in (f"overlay set/mask_{i}.jpg", f"overlay set/mask_{i}_mask.png")]
    assert evidence([*names, "overlay set/mask_77.jpg"])["overlay set/mask_77.jpg"] == (None, None)


def test_an_addition_that_half_of_the_pairs_have_is_that_of_derived_pictures() -> None:
    half = [f"s/p{place}_stain_normed.png" for place in range(10)]
    assert all("10 images have" in str(derived) for derived, _ in evidence([*PAIRS, *half]).values())
    assert all(derived is None for derived, _ in evidence([*PAIRS, *half[:9]]).values())
    numbers = [f"s/p{place}_2.png" for place in range(20)]
    assert all(derived is None for derived, _ in evidence([*PAIRS, *numbers]).values())


def test_masks_made_visible_are_companions_of_their_masks_and_other_orphans_are_not() -> None:
    names = [f"{kind}/{place}.png" for place in range(10) for kind in ("images", "masks")]
    names += [f"masks/{place}_{what}.png" for place in range(10) for what in ("color", "lost")]
    samples = pair(names, Layout(kind="folders")).samples
    assert set(samples.filter("outside")["mask_path"]) == {f"masks/{place}_color.png" for place in range(10)}
    assert len(samples.filter(pl.col("image_path").is_null() & ~pl.col("outside"))) == 10


def test_in_a_folder_without_masks_by_design_names_still_tell() -> None:
    free = (
        "free/u1.jpg",
        "free/u1_mask.png",
        "free/u2.jpg",
        "free/u2_overlay.jpg",
        "free/u2_annotated.jpg",
        "free/u2_разметка.jpg",
        "free/label-free_3.jpg",
        "free/x.jpg",
    )
    told = evidence(PAIRS, free)
    assert {path for path, (derived, _) in told.items() if derived} == {
        "free/u1_mask.png",
        "free/u2_overlay.jpg",
        "free/u2_annotated.jpg",
        "free/u2_разметка.jpg",
    }
    assert told["free/label-free_3.jpg"] == (None, "label")


def test_the_name_of_a_folder_without_masks_by_design_is_no_evidence() -> None:
    free = tuple(f"no mask/label-free/u{number}.jpg" for number in range(30))
    assert set(evidence(PAIRS, free).values()) == {(None, None)}
