"""Decide which of two files is the image and which the mask, from the words in which their names differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from histods.dataset.layouts.auxiliary_files import DERIVED_WORD
from histods.dataset.layouts.patterns import IMAGE_SUFFIXES, MASK_SUFFIXES
from histods.dataset.layouts.vocabulary import CERTAIN, is_word, words_of

ToldBy = Literal["mask", "image", "suffix", "nothing"]
# How certainly a word means a mask.
_MASK_WORDS = (
    (
        1.0,
        r"(?!un|non).*mask(?!ed|ing).*|.*label.*|lbls?|msks?|segs?|segm.*|.*segment.*|.*annot.*|anns?|annos?|trimaps?",
    ),
    (0.95, r"gts?|ground.*|truths?|targets?|semantic|sem|semseg|manual|stuff.*|pixelmaps?|parsing|silhouettes?"),
    (0.8, r"bin|binary|index|indexed|indices|idx|class.*|cls|rois?|mattes?|polygons?"),
    (0.4, r"inst|instances?|colou?rs?|colou?red|colou?rmaps?|panoptic"),
    (
        0.3,
        r"contours?|outlines?|boundar(?:y|ies)|edges?|borders?|dist|distances?|vague|backgrounds?|bg|skeletons?",
    ),
)
# If an image has other masks too, masks with these words are rarely the ones to train with.
_LESSER_MASK = re.compile(
    r"inst|instances?|colou?rs?|colou?red|colou?rmaps?|panoptic|bin|binary|contours?|outlines?|boundar(?:y|ies)|edges?"
    r"|borders?|erod.*|dilat.*|dist|distances?|vague|backgrounds?|bg|skeletons?|weights?|old|backup|copy|copies|tmp"
    r"|draft|low|train(?=ids?$)|trainids?"
)
_IMAGE_WORDS = re.compile(
    r"image.*|ims?|imgs?.*|rgbs?|raw|he|hne|tissues?|orig.*|patch.*|tiles?|photos?|photograph.*|pics?|pictures?|inputs?"
    r"|jpe?gs?|scans?|frames?|crops?|wsis?|dermoscop.*"
)
_LESSER_IMAGE = re.compile(
    r"norm|normed|.*normali[sz].*|aug.*|resiz.*|small|down.*|scaled|enhanced|backup|copy|copies|old|tmp|gr[ae]y.*"
    r"|right"
)
_MADE_BY_MODELS = re.compile(
    r"epochs?|checkpoints?|outputs?|results?|inference|logits?|saliency|attention|masked|cams?|flows?"
)
# Words for groups of pictures: pictures of two groups never belong together.
_GROUP = re.compile(
    r"(?i)(?:slide|patient|case|subject|sample|wsi|tcga|scan|block|core|donor|mouse|human|fold)[ _-]*[a-z0-9]*$"
    r"|^(?:train|test|val|valid|dev|trn|tst)[a-z]*$"
)
_LEADING_NUMBER = re.compile(r"(?:^|[/\0])\d+[ ._-]+(?=[^/\0]*/)")
SPLIT = re.compile(r"train|test|val")
_LESSER, _DIFFERENT_FOLDERS, _DOUBT, UNKNOWN = 0.6, 0.7, 0.5, 0.2
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DERIVED = re.compile(DERIVED_WORD)
_FILE_SUFFIX = re.compile(rf"(?i)(?:{'|'.join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)})(?=/|$)")
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Role:
    """The relation between two files.

    Attributes:
        image_first: whether the first of the two is the image.
        weight: 0..1, the confidence from words; at most `UNKNOWN` if only the pictures themselves can tell.
        told_by: the evidence: a word for masks, only a word for images, only file suffixes, or nothing.
    """

    image_first: bool
    weight: float
    told_by: ToldBy


@lru_cache(maxsize=8192)
def tell_roles(first: str, first_suffix: str, second: str, second_suffix: str) -> Role | None:
    """Distinguish image and mask by the texts that only one of two names has, and by their suffixes.

    Returns:
        None if the texts name two groups (slides, patients), or a picture made from another (an overlay).
    """
    first, second = (_FILE_SUFFIX.sub("", text) for text in (first, second))
    words = _words(first), _words(second)
    made = any(_is_made(text, one) for text, one in zip((first, second), words, strict=True))
    same_group = _same_group(first, second)
    if made or same_group == 0:
        return None
    masks = _mask_weight(words[0]), _mask_weight(words[1])
    images = _has_image_word(words[0]), _has_image_word(words[1])
    suffixes = first_suffix, second_suffix
    if masks[0] != masks[1]:
        mask = 0 if masks[0] > masks[1] else 1
        weight = masks[mask] * _image_weight(words[1 - mask]) * same_group
        is_clear = masks[1 - mask] == 0 or images[1 - mask]
        return _role(mask, weight, suffixes, "mask") if is_clear else None
    if masks == (0, 0) and images[0] != images[1]:
        return _role(images.index(False), _DOUBT, suffixes, "image")
    if masks != (0, 0) or _are_of_groups(first, second):
        return None
    lossy = tuple(suffix in _LOSSY for suffix in suffixes)
    by_suffix = lossy[0] != lossy[1]
    only_masks = tuple(suffix not in IMAGE_SUFFIXES for suffix in suffixes)
    if by_suffix:
        mask = lossy.index(False)
    else:
        mask = only_masks.index(True) if only_masks[0] != only_masks[1] else int(first <= second)
    return _role(mask, 0.4 if by_suffix else UNKNOWN, suffixes, "suffix" if by_suffix else "nothing")


def _role(mask: int, weight: float, suffixes: tuple[str, str], told_by: ToldBy) -> Role | None:
    """The relation of two files, if their suffixes allow it."""
    if suffixes[mask] not in MASK_SUFFIXES or suffixes[1 - mask] not in IMAGE_SUFFIXES:
        return None
    return Role(image_first=mask == 1, weight=weight, told_by=told_by)


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case; capitals begin a word."""
    return tuple(word.lower() for word in _WORD.findall(text))


def _is_made(text: str, words: tuple[str, ...]) -> bool:
    """Whether a picture was made from an image or by a model; contours may be masks if there are no others."""
    made = any(_MADE_BY_MODELS.fullmatch(word) for word in words) or any(
        is_word(word, CERTAIN) for word in words_of(text)
    )
    lesser = any(re.fullmatch(_MASK_WORDS[-1][1], word) for word in words)
    return made or (not lesser and _DERIVED.search(" ".join(words)) is not None) or "overlay" in text.lower()


def _mask_weight(words: tuple[str, ...]) -> float:
    """How certainly words mean a mask; 0 if none does."""
    weight = max(
        (weight for weight, name in _MASK_WORDS for word in words if re.fullmatch(name, word)), default=0.0
    )
    lesser = sum(_LESSER_MASK.fullmatch(word) is not None for word in words)
    if weight <= _DOUBT and any(_IMAGE_WORDS.fullmatch(word) for word in words):
        return 0.0  # an image whose colours were normalised is an image
    return weight * _LESSER**lesser if weight > 0.8 else weight


def _has_image_word(words: tuple[str, ...]) -> bool:
    """Whether a word is one of those for images."""
    return any(_IMAGE_WORDS.fullmatch(word) for word in words)


def _image_weight(words: tuple[str, ...]) -> float:
    """How likely pictures with these words are the images to train with."""
    return _LESSER if any(_LESSER_IMAGE.fullmatch(word) for word in words) else 1.0


def _same_group(first: str, second: str) -> float:
    """How certainly two texts do not name two groups (slides, splits); 0 if they do.

    Group names are the parts without a word for images or masks, and numbers; a leading number in a folder name
    only orders folders. Two whole folders with other names leave a doubt.
    """
    numbers = [
        set(re.findall(r"\d+", re.sub(r"(?:^|[/\0])\d+[ ._-]+(?=[^/\0]*/)", "/", text)))
        for text in (first, second)
    ]
    splits = [set(SPLIT.findall(text.lower())) for text in (first, second)]
    if any(one - other and other - one for one, other in (numbers, splits)):
        return 0.0
    parts = [set(re.findall(r"[^/\0]+/?", text)) for text in (first, second)]
    names = [{part for part in side if not _tells_role(part)} for side in parts]
    differ = names[0] ^ names[1]
    if names[0] <= names[1] or names[1] <= names[0] or names == parts:
        return 1.0
    are_folders = all(part.endswith("/") and not _GROUP.search(part[:-1]) for part in differ)
    return _DIFFERENT_FOLDERS if are_folders else 0.0


@lru_cache(maxsize=4096)
def _tells_role(part: str) -> bool:
    words = _words(part)
    return _mask_weight(words) > 0 or _has_image_word(words)


def _are_of_groups(first: str, second: str) -> bool:
    """Whether a text without a word for images or masks may name a group."""
    return any(
        re.search(r"\d", text) is not None or any(_GROUP.search(part) for part in re.split(r"[/\0]", text))
        for text in (first, second)
    )
