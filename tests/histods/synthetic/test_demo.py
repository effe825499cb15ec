"""Patches and the demo dataset: same seed, same bytes; each planted fault is real; the list is complete."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histods.errors import HistodsError
from histods.labels.label_names import read_labels
from histods.synthetic import Planted, make_demo, make_unconditional, read_faults
from histods.synthetic.faults import speck_share
from histods.synthetic.palette import colour_table

LAYOUTS = ("suffix", "folders")
CODES = {
    *("orphan_mask", "unreadable_image", "unreadable_mask", "size_mismatch", "unknown_label", "not_an_index_mask"),
    *("key_collision", "missing_mask", "lossy_mask", "scaled_mask", "speckled_mask", "wide_mask", "off_palette"),
    *("suffix_mismatch", "duplicate_image", "outside_root", "zero_mask", "constant_mask", "several_masks"),
    *(
        "turned",
        "converted_image",
        "mixed_sizes",
        "looks_like_mask",
        "outside_layout",
        "duplicate_mask",
        "inverted_mask",
        "palettes_differ",
    ),
}
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return make_demo(tmp_path_factory.mktemp(request.param) / "demo", pairs=120, size=96, layout=request.param)


def digests(folder: Path) -> dict[str, str]:
    """Content of every file below a folder, and where every link points."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# The demo: the same bytes again, and refusals.


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        make_demo(tmp_path / str(number) / "demo", pairs=120, size=96, seed=seed)
        for number, seed in enumerate((3, 3, 4))
    )
    assert digests(first.root.parent) == digests(again.root.parent)
    assert first.faults == again.faults
    assert digests(first.root) != digests(other.root)


def test_images_without_masks_are_sound_and_distinct(tmp_path: Path) -> None:
    make_unconditional(tmp_path / "images", images=9, size=64)
    paths = sorted((tmp_path / "images").rglob("*.*"))
    assert len(paths) == 9
    assert len({path.read_bytes() for path in paths}) == 9
    assert {read(path).size for path in paths} == {(64, 64)}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("keep")
    with pytest.raises(HistodsError, match="/demo is not a new or empty folder"):
        make_demo(tmp_path / "demo", pairs=120, size=96)
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", "mine.txt"]


def test_too_few_pairs_for_all_defects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        HistodsError, match="A demo needs at least 120 pairs of 96 pixels and a seed from 0, not 119 "
    ):
        make_demo(tmp_path / "demo", pairs=119)


def test_the_list_of_faults_reads_back_as_it_was_written(planted: Planted, tmp_path: Path) -> None:
    planted.write_planted_csv(tmp_path / "planted.csv")
    assert (tmp_path / "planted.csv").read_text(encoding="utf-8").startswith("code,key,path,note\n")
    assert read_faults(tmp_path / "planted.csv") == planted.faults
    (tmp_path / "other.csv").write_text("code,path\nzero_mask,x\n")
    with pytest.raises(HistodsError, match="is not a list of planted faults with the columns code, key, path"):
        read_faults(tmp_path / "other.csv")


def test_the_labels_file_names_and_colours_all_55_labels(planted: Planted) -> None:
    table = read_labels(planted.labels_file)
    assert sorted(table.names) == sorted(table.colours) == list(range(55))
    assert [table.colours[label] for label in range(55)] == [tuple(colour) for colour in colour_table().tolist()]


# The demo: a small auditor of its own, with Pillow alone, must come to the planted list.


def read(path: Path) -> Image.Image:
    """Decode a file, or raise whatever Pillow raises; checksums, end markers and sizes included."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    if content[:2] == b"\xff\xd8" and content[-2:] != b"\xff\xd9":
        raise OSError("no end marker")
    if content[:4] == b"\x89PNG" and content[-8:-4] != b"IEND":
        raise OSError("no end chunk")
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def labels_of(image: Image.Image) -> tuple[np.ndarray, int] | None:
    """Labels of a mask and its pixels off the palette; None where the values are not labels."""
    colours = {tuple(colour): label for label, colour in enumerate(colour_table().tolist())}
    pixels = np.asarray(image)
    if image.mode == "P":
        palette = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[np.unique(pixels)]
        meant = [colours.get(tuple(colour)) for colour in palette.tolist()]
        wrong = any(label not in (None, index) for label, index in zip(meant, np.unique(pixels), strict=True))
        return None if wrong or 2 * meant.count(None) > len(meant) else (pixels, 0)
    if image.mode in ("1", "L", "I;16"):
        return pixels, 0
    if image.mode == "LA" or (image.mode == "RGBA" and np.unique(pixels[..., 3]).size > 1):
        return None
    found = np.array([colours.get(tuple(colour), 65535) for colour in pixels[..., :3].reshape(-1, 3).tolist()])
    off = int(np.sum(found == 65535))
    return (found.reshape(pixels.shape[:2]), off) if off < found.size / 2 else None


def judge_mask(image: Image.Image) -> set[str]:
    codes = {"lossy_mask"} if image.format == "JPEG" else set()
    if getattr(image, "tag_v2", {}).get(262) == 0:  # which Pillow undoes: the file holds the opposite
        codes, image = codes | {"inverted_mask"}, Image.fromarray(255 - np.asarray(image))
    if image.mode == "P":
        assert image.palette is not None
        if (1, 2, 3) in set(image.palette.colors):
            codes |= {"palettes_differ"}
    decoded = labels_of(image)
    if decoded is None:
        return codes | {"not_an_index_mask"}
    labels, off = decoded
    present = set(np.unique(labels).tolist()) - ({65535} if off else set())
    share, specks = speck_share(labels.astype(np.uint16))
    scaled = present in ({0, 255}, {0, 60, 120, 180, 240})
    judged = {
        "off_palette": off > 0,
        "zero_mask": present == {0},
        "constant_mask": len(present) == 1 and present != {0},
        "unknown_label": max(present) > 54,
        "scaled_mask": scaled,
        "wide_mask": image.mode == "I;16" and max(present) < 256,
        "speckled_mask": share >= 0.2 and specks >= 16,
    }
    return codes | {code for code, holds in judged.items() if holds}


def judge_file(path: Path, *, is_mask: bool) -> tuple[set[str], tuple[int, int] | None]:
    """Codes of one file, and its size where it can be read."""
    try:
        image = read(path)
    except Exception:  # Pillow raises many kinds
        return {"unreadable_mask" if is_mask else "unreadable_image"}, None
    codes = judge_mask(image) if is_mask else set()
    with Image.open(path) as unread:  # Pillow turns a TIFF when it reads the pixels
        codes |= {"turned"} if unread.getexif().get(274, 1) != 1 else set()
    if not is_mask and image.mode in ("CMYK", "RGBA", "I;16"):
        codes |= {"converted_image"}
    sound_name = path.suffix.lower() in SUFFIXES[str(image.format)]
    return codes | (set() if sound_name else {"suffix_mismatch"}), image.size


def judge_pair(
    images: list[str], masks: list[str], sizes: dict[str, tuple[int, int] | None]
) -> set[tuple[str, str]]:
    """(code, path) of what is wrong between the files of one key."""
    found = {("key_collision", name) for name in images if len(images) > 1}
    found |= {("several_masks", name) for name in masks if len(masks) > 1}
    found |= {("orphan_mask", name) for name in masks if not images}
    pair = [sizes[name] for name in (*images[:1], *masks[:1])]
    differ = len(pair) == 2 and None not in pair and pair[0] != pair[1]
    return found | ({("size_mismatch", masks[0])} if differ else set())


def is_picture_of_others(path: Path) -> bool:
    """Whether an image without a mask is a copy of a mask, an overlay, or holds labels itself."""
    with Image.open(path) as image:
        return path.stem.endswith((" (1)", "_overlay")) or image.mode == "L"


def judge_repeated(
    contents: dict[bytes, list[tuple[str, str]]], pictures: dict[str, bytes]
) -> set[tuple[str, str]]:
    """Masks of several labels with the same bytes under images that differ.

    Args:
        contents: key and path of the masks with the same bytes.
        pictures: bytes of the image of each key.
    """
    found = set()
    for data, masks in contents.items():
        with Image.open(io.BytesIO(data)) as image:
            several = np.unique(np.asarray(image)).size > 1
        if several and len({pictures[key] for key, _ in masks}) > 1:
            found |= {("duplicate_mask", path) for _, path in masks}
    return found


def audit(root: Path, layout: str) -> set[tuple[str, str]]:
    """(code, path) of everything that is wrong, by reading every file with Pillow."""
    found: set[tuple[str, str]] = set()
    images: dict[str, list[str]] = defaultdict(list)
    masks: dict[str, list[str]] = defaultdict(list)
    contents: dict[bytes, list[str]] = defaultdict(list)
    repeated: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int] | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found.add(("outside_root", name))
        elif path.is_file() and path.suffix != ".txt":
            stem = name.removesuffix(path.suffix)
            if "_prediction" in stem:
                found.add(("outside_layout", name))
                continue
            is_mask = name.startswith("masks/") if layout == "folders" else stem.endswith("_mask")
            key = stem.split("/", 1)[1] if layout == "folders" else stem.removesuffix("_mask")
            (masks if is_mask else images)[key].append(name)
            contents[path.read_bytes()] += [] if is_mask else [name]
            repeated[path.read_bytes()] += [(key, name)] if is_mask else []
            codes, sizes[name] = judge_file(path, is_mask=is_mask)
            found |= {(code, name) for code in codes}
    for key in images.keys() | masks.keys():
        found |= judge_pair(images[key], masks[key], sizes)
        for name in images[key] if not masks[key] else []:
            found.add(("looks_like_mask" if is_picture_of_others(root / name) else "missing_mask", name))
    images_read = [(name, sizes[name]) for names in images.values() for name in names if sizes[name]]
    usual = Counter(size for _, size in images_read).most_common(1)[0][0]
    found |= {("mixed_sizes", name) for name, size in images_read if size != usual}
    pictures = {key: (root / names[0]).read_bytes() for key, names in images.items() if names}
    paired = {data: [(key, name) for key, name in names if key in pictures] for data, names in repeated.items()}
    found |= judge_repeated({data: names for data, names in paired.items() if len(names) > 1}, pictures)
    for names in contents.values():
        found |= {("duplicate_image", name) for name in names if len(names) > 1}
    return found


def test_the_planted_list_is_what_is_wrong_and_nothing_else(planted: Planted) -> None:
    listed = [(fault.code, fault.path) for fault in planted.faults]
    assert set(listed) == audit(planted.root, planted.layout)
    assert len(listed) == len(set(listed))


def test_every_code_is_planted_several_times(planted: Planted) -> None:
    counts = Counter(fault.code for fault in planted.faults)
    assert set(counts) == CODES
    assert min(counts.values()) >= 3


def test_keys_are_paths_without_suffix_of_files_that_are_there(planted: Planted) -> None:
    for fault in planted.faults:
        path = planted.root / fault.path
        assert path.is_symlink() or path.is_file()
        own = fault.path.removesuffix(path.suffix)
        of_image = (
            own.replace("masks/", "images/", 1) if planted.layout == "folders" else own.removesuffix("_mask")
        )
        assert fault.key in (own, of_image)


def test_slides_can_be_told_from_the_keys_and_links_work(planted: Planted) -> None:
    slides = {path.parent.name for path in planted.root.rglob("*.jpg") if not path.is_symlink()}
    assert len({slide for slide in slides if slide.startswith("slide_")}) == 8
    links = [path for path in planted.root.rglob("*") if path.is_symlink()]
    assert links
    assert all(path.exists() and not path.resolve().is_relative_to(planted.root) for path in links)
