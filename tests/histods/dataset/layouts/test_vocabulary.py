"""Words of names: capitals begin one, accents do not count, and lists of words know the languages of datasets."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods.dataset.layouts.vocabulary import CERTAIN, MADE_FROM, MASK_WORD, is_word, plain, words_of

TEXT = st.text("aBzäÉñИя標ガ한 _-1٣", max_size=12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_01-tumorMask", ["case", "tumor", "mask"]),
        ("HEImage", ["he", "image"]),
        ("GTmask", ["g", "tmask"]),
        ("Überlagerung", ["uberlagerung"]),
        ("máscara", ["mascara"]),
        ("маска3", ["маска"]),
        ("标签_1", ["标签"]),
        ("123_-.", []),
        ("", []),
    ],
)
def test_a_name_falls_into_words_at_capitals_and_other_signs(text: str, words: list[str]) -> None:
    assert words_of(text) == words
    assert words_of(unicodedata.normalize("NFD", text)) == words


@given(TEXT)
def test_words_are_plain_letters_of_the_name_however_it_is_composed(text: str) -> None:
    for word in words_of(text):
        assert word
        assert not any(sign.isdecimal() or sign == "_" or sign.isspace() for sign in word)
    assert words_of(unicodedata.normalize("NFC", text)) == words_of(unicodedata.normalize("NFD", text))


@given(TEXT)
def test_a_plain_text_stays_plain(text: str) -> None:
    assert plain(unicodedata.normalize("NFD", text)) == plain(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["overlay", "uberlagerung", "preds", "overlaid", "предсказание", "预测图"], CERTAIN),
        (["overlay", "contours", "colormap", "heatmap", "kontur", "结果"], MADE_FROM),
        (["mask", "masks", "tumormask", "label", "gt", "segmentation", "maski", "маски", "ラベル"], MASK_WORD),
    ],
)
def test_the_words_of_a_list_are_known_in_each_language(words: list[str], pattern: str) -> None:
    assert [word for word in words if not is_word(word, pattern)] == []


@pytest.mark.parametrize("word", ["unlabeled", "unmasked", "nolabel", "image", "slide", "legend", ""])
def test_other_words_are_no_words_for_masks(word: str) -> None:
    assert not is_word(word, MASK_WORD)
