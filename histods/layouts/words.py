"""Which of two files is the image and which the mask, told from the words in which their names differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from histods.layouts.names import MASK_SUFFIXES
from histods.layouts.other import COLOUR_WORD, DERIVED_WORD

# Masks of instances and coloured masks are masks too, but where the image also has one of labels, that is meant.
_SECOND_CHOICE = rf"inst|instances?|{COLOUR_WORD}"
# How sure a word is to mean a mask.
_MASK_WORDS = (
    (1.0, r".*mask.*|.*label.*|lbls?|msks?|seg.*|annot.*|anns?|annos?"),
    (0.9, r"gts?|ground.*|truth|target.*|semantic.*|manual"),
    (0.8, r"bin|binary|index|indexed|indices|idx|class.*|cls|rois?"),
    (0.4, _SECOND_CHOICE),
)
_DOUBT = 0.5
_IMAGE_WORDS = (
    r"image.*|ims?|img.*|rgb|raw|he|hne|tissue.*|orig.*|patch.*|tile.*|photo.*|pics?|picture.*|inputs?|jpe?gs?"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DERIVED = re.compile(DERIVED_WORD)
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Role:
    """What two files are to each other.

    Attributes:
        image_first: the first of the two is the image.
        weight: 0..1, how sure the words are.
        told_by_mask: a word says that the mask is a mask.
    """

    image_first: bool
    weight: float
    told_by_mask: bool


@lru_cache(maxsize=4096)
def tell_roles(first: str, first_suffix: str, second: str, second_suffix: str) -> Role | None:
    """Tell image and mask from the texts that only one of two names has, and from their suffixes.

    Returns:
        None where nothing tells them apart, or where one is a picture made from the other, such as an overlay.
    """
    if any(_DERIVED.search(" ".join(_words(text))) for text in (first, second)):
        return None
    masks = _mask_weight(first), _mask_weight(second)
    images = _has_image_word(first), _has_image_word(second)
    suffixes = first_suffix, second_suffix
    if masks[0] != masks[1]:
        mask = 0 if masks[0] > masks[1] else 1
        if (masks[1 - mask] == 0 or images[1 - mask]) and suffixes[mask] in MASK_SUFFIXES:
            return Role(image_first=mask == 1, weight=masks[mask], told_by_mask=masks[mask] > _DOUBT)
        return None
    if masks == (0, 0) and images[0] != images[1] and suffixes[images.index(False)] in MASK_SUFFIXES:
        return Role(image_first=images[0], weight=_DOUBT, told_by_mask=False)
    lossy = tuple(suffix in _LOSSY for suffix in suffixes)
    if masks == (0, 0) and lossy[0] != lossy[1] and suffixes[lossy.index(False)] in MASK_SUFFIXES:
        return Role(image_first=lossy[0], weight=0.4, told_by_mask=False)
    return None


def _words(text: str) -> list[str]:
    """The words of a text in lower case; capitals begin a word."""
    return [word.lower() for word in _WORD.findall(text)]


def _mask_weight(text: str) -> float:
    """How sure a text means a mask: 0 where no word does."""
    words = _words(text)
    weight = max(
        (weight for weight, name in _MASK_WORDS for word in words if re.fullmatch(name, word)), default=0.0
    )
    return (
        weight * 0.6 if weight > _DOUBT and any(re.fullmatch(_SECOND_CHOICE, word) for word in words) else weight
    )


def _has_image_word(text: str) -> bool:
    """Whether a word of a text means an image."""
    return any(re.fullmatch(_IMAGE_WORDS, word) for word in _words(text))
