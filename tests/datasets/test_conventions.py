"""Public datasets by the names that their files have: the right pairs, by itself or by the printed options."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.dataset.layouts import choose_layout, pair
from histods.dataset.listing import LayoutOptions, list_files, pair_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

N = [f"{number:03d}" for number in range(1, 7)]
HEX = ["a1f09", "b2e18", "c3d27", "d4c36", "e5b45", "f6a54"]
TCGA = [f"TCGA-{site}-A{number}SK-01Z-00-DX1" for site in ("18", "B0", "KB") for number in (4, 7)]


@dataclass(frozen=True, slots=True)
class Convention:
    """Files as published: `*` stands for each key.

    Attributes:
        image, mask: names of the files that belong together.
        photos: names of other pictures that look like photographs, such as overlays.
        drawings: names of other pictures that look like masks.
        others: names of files that are no pictures.
        keys: what stands for `*`.
    """

    image: str
    mask: str
    photos: tuple[str, ...] = ()
    drawings: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    keys: Sequence[str] = tuple(N)

    def pairs(self) -> set[tuple[str, str]]:
        return {(self.image.replace("*", key), self.mask.replace("*", key)) for key in self.keys}


C = Convention
CONVENTIONS = {
    "DRSK": [C("*.jpg", "*_mask.png", keys=[f"s1.tiff-xy2_{n}" for n in N])],
    "BCSS": [C("rgbs_colorNormalized/*.png", "masks/*.png", keys=[f"{t}_xmin45_MPP-0.2500" for t in TCGA])],
    "CamVid": [C("CamVid/train/*.png", "CamVid/trainannot/*.png"), C("CamVid/val/*.png", "CamVid/valannot/*.png")],
    "CVAT CamVid": [C("default/*.png", "defaultannot/*.png", others=("label_colors.txt",))],
    "Supervisely": [
        C("ds0/img/*.jpg", "ds0/masks_machine/*.jpg.png", drawings=("ds0/masks_human/*.jpg.png",)),
    ],
    "Supervisely, two formats": [
        C("ds0/img/*.jpg", "ds0/masks_machine/*.jpg.png", keys=N[:3]),
        C("ds0/img/*.png", "ds0/masks_machine/*.png.png", keys=N[3:]),
    ],
    "NuInsSeg": [
        C(
            f"{organ}/tissue images/{organ.replace(' ', '_')}_*.png",
            f"{organ}/label masks modify/{organ.replace(' ', '_')}_*.tif",
            photos=(f"{organ}/overlay/{organ.replace(' ', '_')}_*.png",),
            drawings=tuple(
                f"{organ}/{folder}/{organ.replace(' ', '_')}_*.png"
                for folder in ("mask binary", "mask binary without border", "distance maps")
            ),
        )
        for organ in ("human bladder", "human brain", "mouse liver")
    ],
    "CryoNuSeg": [
        C(
            "tissue images/Human_*.tif",
            "Annotator 1/label masks modify/Human_*.tif",
            drawings=("Annotator 1/mask binary/Human_*.png", "Annotator 1/distance maps/Human_*.png"),
            keys=[f"{organ}_0{n}" for organ in ("Larynx", "Skin") for n in (1, 2, 3)],
        )
    ],
    "WSSS4LUAD": [
        C("2.validation/img/*.png", "2.validation/mask/*.png", drawings=("2.validation/background-mask/*.png",)),
        C("3.testing/img/*.png", "3.testing/mask/*.png", drawings=("3.testing/background-mask/*.png",)),
    ],
    "Kvasir-SEG": [C("Kvasir-SEG/images/*.jpg", "Kvasir-SEG/masks/*.jpg", others=("kavsir_bboxes.json",))],
    "CVC-ClinicDB": [C("Original/*.tif", "Ground Truth/*.tif", keys=["1", "2", "10", "11", "612"])],
    "ISIC 2018": [
        C(
            "ISIC2018_Task1-2_Training_Input/ISIC_*.jpg",
            "ISIC2018_Task1_Training_GroundTruth/ISIC_*_segmentation.png",
        )
    ],
    "HAM10000": [
        C("HAM10000_images_part_1/ISIC_*.jpg", "HAM10000_segmentations/ISIC_*_segmentation.png", keys=N[:3]),
        C("HAM10000_images_part_2/ISIC_*.jpg", "HAM10000_segmentations/ISIC_*_segmentation.png", keys=N[3:]),
    ],
    "PH2": [C("PH2/*/*_Dermoscopic_Image/*.bmp", "PH2/*/*_lesion/*_lesion.bmp", keys=[f"IMD{n}" for n in N])],
    "HuBMAP": [C("train_images/*.tiff", "train_masks/*.png", keys=HEX)],
    "MoNuSeg": [C("Tissue Images/*.tif", "Binary_masks/*.png", others=("Annotations/*.xml",), keys=TCGA)],
    "GlaS": [C(f"{split}_*.bmp", f"{split}_*_anno.bmp", keys=["1", "2", "10"]) for split in ("train", "testA")],
    "CoNSeP": [
        C(
            f"{split}/Images/{split.lower()}_*.png",
            f"{split}/Masks/{split.lower()}_*.png",
            photos=(f"{split}/Overlay/{split.lower()}_*.png",),
            others=(f"{split}/Labels/{split.lower()}_*.mat",),
            keys=["1", "2", "10", "11"],
        )
        for split in ("Train", "Test")
    ],
    "Lizard": [
        C(f"lizard_images{n}/Lizard_Images{n}/{site}_*.png", f"Lizard_Labels/{site}_*_label.png", keys=N[:4])
        for n, site in ((1, "consep"), (2, "glas"))
    ],
    "PanNuke": [
        C(f"Fold {n}/images/fold{n}_*.png", f"Fold {n}/sem_masks/fold{n}_*.png", keys=["0", "1", "10"])
        for n in (1, 2)
    ],
    "TNBC": [C("Slide_01/01_*.png", "GT_01/01_*.png"), C("Slide_02/02_*.png", "GT_02/02_*.png")],
    "CRAG": [
        C(f"{s}/Images/{s}_*.png", f"{s}/Annotation/{s}_*.png", photos=(f"{s}/Overlay/{s}_*.png",))
        for s in ("train", "valid")
    ],
    "DigestPath": [C("tissue-train-pos/*.jpg", "tissue-train-pos/*_mask.jpg", keys=[f"2018-{n}" for n in N])],
    "PAIP": [C("Training/*.tif", "Training/*_whole.tif", drawings=("Training/*_viable_border.tif",))],
    "Pascal VOC": [
        C(
            "JPEGImages/2007_*.jpg",
            "SegmentationClass/2007_*.png",
            drawings=("SegmentationObject/2007_*.png",),
            others=("Annotations/2007_*.xml",),
        )
    ],
    "ADE20K": [
        C(f"images/{split}/ADE_{name}_*.jpg", f"annotations/{split}/ADE_{name}_*.png")
        for split, name in (("training", "train"), ("validation", "val"))
    ],
    "Cityscapes": [
        C(
            f"leftImg8bit/{split}/{city}/{city}_*_leftImg8bit.png",
            f"gtFine/{split}/{city}/{city}_*_gtFine_labelIds.png",
            drawings=(
                f"gtFine/{split}/{city}/{city}_*_gtFine_color.png",
                f"gtFine/{split}/{city}/{city}_*_gtFine_instanceIds.png",
            ),
            keys=["000000_000019", "000001_000019", "000002_000019"],
        )
        for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "lindau"))
    ],
    "COCO-Stuff": [C("train2017/*.jpg", "train2017/*_labelTrainIds.png", keys=[f"000000000{n}" for n in N])],
    "COCO-Stuff, folders": [
        C("images/val2017/*.jpg", "stuffthingmaps/val2017/*.png", keys=[f"000000000{n}" for n in N])
    ],
    "nnU-Net": [C("imagesTr/case_*_0000.png", "labelsTr/case_*.png", others=("dataset.json",))],
    "MMSegmentation": [
        C(f"img_dir/{split}/*.jpg", f"ann_dir/{split}/*.png", keys=[f"{split}{n}" for n in N])
        for split in ("train", "val")
    ],
    "MMSegmentation, ann suffix": [C("img_dir/*.png", "ann_dir/*_labelTrainIds.png")],
    "Label Studio": [C("images/task-*.jpg", "task-*-annotation-1-by-1-tag-tissue-0.png")],
    "QuPath": [C("S1 [x=*,y=5,w=8,h=8].jpg", "S1 [x=*,y=5,w=8,h=8]-labels.png", keys=["0", "512", "1024"])],
    "QuPath, folders": [C("tiles/S1 [d=2,x=*,y=0].tif", "masks/S1 [d=2,x=*,y=0].png", keys=["0", "512", "1024"])],
    "labelme": [
        C(
            "JPEGImages/*.jpg",
            "SegmentationClassPNG/*.png",
            photos=("SegmentationClassVisualization/*.jpg",),
            others=("SegmentationClass/*.npy",),
        )
    ],
    "labelme json_to_dataset": [C("*_json/img.png", "*_json/label.png", photos=("*_json/label_viz.png",))],
    "Carvana": [C("train/*_01.jpg", "train_masks/*_01_mask.gif", keys=HEX)],
    "DRIVE": [C("training/images/*_training.tif", "training/1st_manual/*_manual1.gif", keys=["21", "22", "30"])],
    "CHASE DB1": [C("Images/Image_*.jpg", "Masks/Image_*_1stHO.png", keys=[f"{n}{s}" for n in N for s in "LR"])],
    "STARE": [C("images/im0*.png", "labels-ah/im0*.png")],
    "CrackForest": [C("image/*.jpg", "groundTruth/*.png")],
    "DeepCrack": [C("train_img/*.jpg", "train_lab/*.png"), C("test_img/*.jpg", "test_lab/*.png")],
    "image and mask numbers": [C("image_*.png", "mask_*.png", keys=["1", "2", "10", "11"])],
    "DeepGlobe": [C("train/*_sat.jpg", "train/*_mask.png", keys=["119", "266", "606"])],
    "LoveDA": [C("Train/Urban/images_png/*.png", "Train/Urban/masks_png/*.png", keys=["1366", "1367"])],
    "Oxford Pets": [
        C("images/Cat_*.jpg", "annotations/trimaps/Cat_*.png", others=("annotations/xmls/Cat_*.xml",)),
    ],
    "SUIM": [C("train_val/images/d_r_*_.jpg", "train_val/masks/d_r_*_.bmp")],
    "BraTS slices": [C("slices/case*_flair.png", "slices/case*_seg.png")],
    "Synapse": [C("case00*_image.png", "case00*_label.png")],
    "CAMELYON patches": [C("patches/tumor_*.png", "annotations/tumor_*_mask.png")],
    "DSB2018, merged": [C("stage1_train/*/image.png", "stage1_train/*/mask.png", keys=HEX)],
    "IDRiD": [C("1. Original Images/IDRiD_*.jpg", "2. Groundtruths/IDRiD_*_EX.tif")],
    "names that say mask": [C("p_mask_*.jpg", "p_mask_*_mask.png")],
    "names that end in mask": [C("*_mask.jpg", "*_mask_mask.png")],
    "names that say label": [C("imgs/label-free_*.jpg", "gt/label-free_*.png")],
    "capitals of suffixes": [C("images/*.JPG", "masks/*.PNG")],
    "capitals of names": [C("IMG_*.JPG", "img_*_mask.png")],
    "capitals of mask suffixes": [C("t*.jpg", "t*_Mask.png", keys=N[:3]), C("t*.jpg", "t*_MASK.PNG", keys=N[3:])],
    "dots in names": [C("imgs/S1.v2.5x_*.tif", "labels/S1.v2.5x_*.png")],
    "brackets and spaces": [C("benign (*).png", "benign (*)_mask.png", keys=["1", "2", "10"])],
    "WebP masks": [C("*.jpg", "*_mask.webp")],
    "words of German": [
        C("Bilder/Schnitt_*.jpg", "Masken/Schnitt_*.png", photos=("Überlagerung/Schnitt_*.jpg",)),
    ],
    "words of Chinese": [C("图像/*.png", "标签/*.png", photos=("预测/*.png",))],
    "words of Russian": [C("снимки/*.jpg", "маски/*.png")],
    "Cellpose": [C("train/*_img.png", "train/*_masks.png", photos=("train/*_flows.tif",))],
    "NuCLS": [C("rgb/TCGA-*.png", "mask/TCGA-*.png", photos=("visualization/TCGA-*.png",))],
    "EBHI-SEG": [
        C(f"EBHI-SEG/{kind}/image/GT{kind}_*.png", f"EBHI-SEG/{kind}/label/GT{kind}_*.png")
        for kind in ("Normal", "Polyp")
    ],
    "shell characters": [C("$it's/a b/raw_*.png", "$it's/a b/lab_*.png")],
    "a folder per patient": [
        C(f"patients/P{n}/slice_{n}_*.png", f"masks/slice_{n}_*.png", keys=["1", "2", "3"]) for n in N
    ],
}


def draw(path: Path, kind: str) -> None:
    """Write a photograph or a mask, the same for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "other":
        path.write_bytes(b"{}")
        return
    seed = np.random.default_rng(sum(path.name.encode()))
    pixels = np.zeros((24, 32), np.uint8)
    pixels[4:16, 6:20] = 1 + int(seed.integers(2))
    if kind == "photo":
        pixels = seed.integers(90, 240, (24, 32, 3)).astype(np.uint8)
    formats = {".jpg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}
    options = {"lossless": True} if path.suffix.lower() == ".webp" else {}
    Image.fromarray(pixels).save(path, formats.get(path.suffix.lower(), "PNG"), **options)


def write(root: Path, parts: Sequence[Convention]) -> set[tuple[str, str]]:
    """Write all files of a dataset and give back the pairs."""
    for part in parts:
        for key in part.keys:
            kinds = [("photo", part.image), ("mask", part.mask)]
            kinds += [("photo", name) for name in part.photos] + [("mask", name) for name in part.drawings]
            kinds += [("other", name) for name in part.others]
            for kind, name in kinds:
                draw(root / name.replace("*", key), kind)
    return {both for part in parts for both in part.pairs()}


def options(**chosen: str) -> LayoutOptions:
    defaults = {"kind": None, "mask_suffix": "_mask", "images_dir": "images", "masks_dir": "masks"}
    patterns = {"image_pattern": None, "mask_pattern": None, "pairs": None, "unconditional": ()}
    return LayoutOptions(**(defaults | patterns | chosen))  # type: ignore[arg-type]


def pairs_of(samples: pl.DataFrame) -> set[tuple[str, str]]:
    return set(samples.select("image_path", "mask_path").drop_nulls().rows())


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_public_convention_pairs_by_itself_or_as_proposed(tmp_path: Path, name: str) -> None:
    expected = write(tmp_path, CONVENTIONS[name])
    dataset = pair_files(tmp_path, options(), list_files(tmp_path, options()))
    found = pairs_of(dataset.samples)
    if found != expected:
        proposed = []
        for suggestion in dataset.suggestions:
            _, images, _, masks = shlex.split(suggestion.options)
            chosen = options(image_pattern=images, mask_pattern=masks)
            proposed.append(pairs_of(pair_files(tmp_path, chosen, list_files(tmp_path, chosen)).samples))
        assert expected in proposed, (dataset.layout, found ^ expected, dataset.suggestions)


def audited(root: Path) -> tuple[set[tuple[str, str]], list[tuple[str, str]]]:
    """The pairs that are made without asking, and the patterns that are proposed."""
    dataset = pair_files(root, options(), list_files(root, options()))
    return pairs_of(dataset.samples), [(one.image_pattern, one.mask_pattern) for one in dataset.suggestions]


TWO_GOOD_ONES = {
    "two annotators": (["img/*.png"], ["annotator1/*.png", "annotator2/*.png"]),
    "masks and labels": (["img/*.png"], ["mask/*.png", "label/*.png"]),
    "two exports of masks": (["*.jpg"], ["*_seg.png", "*_label.png"]),
    "two sets of images": (["images_a/*.png", "images_b/*.png"], ["labels/*.png"]),
    "two formats of images": (["img/*.png", "img/*.tif"], ["gt/*.png"]),
}


@pytest.mark.parametrize("name", TWO_GOOD_ONES)
def test_where_two_are_as_good_none_is_taken_and_both_are_listed(tmp_path: Path, name: str) -> None:
    images, masks = TWO_GOOD_ONES[name]
    for kind, names in (("photo", images), ("mask", masks)):
        for pattern in names:
            for key in N:
                draw(tmp_path / pattern.replace("*", key), kind)
    pairs, proposed = audited(tmp_path)
    assert pairs == set()
    expected = {(image.replace("*", "{key}"), mask.replace("*", "{key}")) for image in images for mask in masks}
    assert expected <= set(proposed)


NOTHING_PAIRS = {
    "images alone": {"photo": ["a/*.jpg", "b/*.jpg"]},
    "masks alone": {"mask": ["masks/*.png", "labels_x*.png"]},
    "overlays": {"photo": ["images/*.png", "overlay/*.png"]},
    "predictions": {"photo": ["images/*.png"], "mask": ["epoch_10/*.png"]},
    "two stains": {"photo": ["HE/*.png", "IHC/*.png"]},
    "numbers of two slides": {"photo": ["slide_1/images/*.png"], "mask": ["slide_2/masks/*.png"]},
    "numbers of two slides, flat": {"photo": ["slide1_image_*.png"], "mask": ["slide2_mask_*.png"]},
    "two splits": {"photo": ["train/images/*.png"], "mask": ["test/masks/*.png"]},
    "two patients without a word": {"photo": ["patient_a/*.jpg"], "mask": ["patient_b/*.png"]},
    "patches of several slides, one folder of masks": {
        "photo": ["s1/x/*.jpg", "s2/x/*.jpg"],
        "mask": ["masks/*.png"],
    },
    "other numbers": {"photo": ["images/1*.png"], "mask": ["masks/2*.png"]},
}


@pytest.mark.parametrize("name", NOTHING_PAIRS)
def test_what_does_not_belong_together_is_neither_paired_nor_proposed(tmp_path: Path, name: str) -> None:
    for kind, names in NOTHING_PAIRS[name].items():
        for pattern in names:
            for key in N:
                draw(tmp_path / pattern.replace("*", key), kind)
    pairs, proposed = audited(tmp_path)
    assert pairs == set()
    if not name.startswith(("overlays", "patches of several")):
        assert proposed == []


def test_where_words_say_nothing_the_pictures_do(tmp_path: Path) -> None:
    for images, masks in (("A", "B"), ("Z", "Y")):
        root = tmp_path / images
        for key in N:
            draw(root / images / f"{key}.png", "photo")
            draw(root / masks / f"{key}.png", "mask")
        assert audited(root)[0] == {(f"{images}/{key}.png", f"{masks}/{key}.png") for key in N}


def test_images_of_a_test_folder_are_reported_beside_the_pairs(tmp_path: Path) -> None:
    expected = write(tmp_path, [C("training/img/*.png", "training/gt/*.png")])
    for key in N[:4]:
        draw(tmp_path / "testing" / f"{key}.png", "photo")
    dataset = pair_files(tmp_path, options(), list_files(tmp_path, options()))
    assert pairs_of(dataset.samples) == expected
    assert len(dataset.samples) == len(expected) + 4


BY_NAMES = [
    ("{image}/{split}{name}.png", "{mask}/{split}{name}.png", "{over}/{split}{name}.png"),
    ("{split}{image}/{name}.png", "{split}{mask}/{name}.png", "{split}{over}/{name}.png"),
    ("{split}{name}_{image}.png", "{split}{name}_{mask}.png", "{split}{name}_{over}.png"),
    ("{split}{name}.jpg", "{split}{name}_mask.png", "{split}{name}_{over}.jpg"),
]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(BY_NAMES),
    image=st.sampled_from(["img", "tissue images", "rgb", "zz_raw", "a_photos"]),
    mask=st.sampled_from(["masks", "gt", "label", "aa_annotations", "z_seg"]),
    over=st.sampled_from(["overlay", "aaa_overlays", "zzz_overlay", "visualization"]),
    split=st.sampled_from(["", "d/", "v1.0/x y/"]),
    start=st.text("abcXYZ-é", min_size=1, max_size=4),
    has_overlays=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
def test_names_order_and_overlays_never_change_what_pairs(
    shape: tuple[str, str, str],
    image: str,
    mask: str,
    over: str,
    split: str,
    start: str,
    has_overlays: bool,
    shuffle: Random,
) -> None:
    rows = []
    for number in range(7):
        words = {"image": image, "mask": mask, "over": over, "split": split, "name": f"{start}{number}"}
        rows.append([text.format(**words) for text in shape])
    names = [name for row in rows for name in (row if has_overlays else row[:2])]
    shuffle.shuffle(names)
    choice = choose_layout(names, mask_suffix="_mask", images_dir="images", masks_dir="masks")
    assert pairs_of(pair(names, choice.layout).samples) == {(row[0], row[1]) for row in rows}
