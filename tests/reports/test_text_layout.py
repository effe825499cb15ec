"""Text on charts: it fits its width, keeps its words, and numbers are never rounded to none or all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.printing import counted
from reports.text_layout import percent_text, pixels_text, shortened, text_width, tick_text, wrapped

TEXT = st.lists(st.text("abWil", min_size=1, max_size=9), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=40)
@given(text=TEXT, inches=st.floats(0.2, 3))
def test_a_shortened_text_fits_and_keeps_its_ends(text: str, inches: float) -> None:
    short = shortened(text, inches)
    assert text_width(short) <= inches
    if short != text:
        before, after = short.split("…")
        assert text.startswith(before.rstrip())
        assert text.endswith(after.lstrip())


def test_a_text_that_fits_stays_and_whole_words_come_before_letters() -> None:
    text = "Dermis papillary layer, Surgical margin"
    assert shortened(text, 9) == text
    assert shortened(text, text_width("Dermis … margin")) == "Dermis … margin"
    assert shortened(text, 0) == "…"


@settings(max_examples=40)
@given(text=TEXT, inches=st.floats(0.1, 2))
def test_wrapped_lines_have_all_words_and_only_a_single_word_is_too_long(text: str, inches: float) -> None:
    lines = wrapped(text, inches)
    assert " ".join(lines) == text
    assert all(text_width(line) <= inches or " " not in line for line in lines)


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (0, "0 %"), (100, "100 %"), (50, "50.00 %"), (99.999, ">99.99 %"), (99.994, "99.99 %"),
        (0.1, "0.10 %"), (0.09, "0.090 %"), (0.005, "0.0050 %"), (0.0001, "0.0001 %"), (0.00009, "<0.0001 %"),
    ],
)  # fmt: skip
def test_shares_are_quoted_as_people_do(percent: float, text: str) -> None:
    assert percent_text(percent) == text


@given(st.floats(0, 100, exclude_min=True, exclude_max=True))
def test_only_nothing_and_all_are_0_and_100_percent(percent: float) -> None:
    text = percent_text(percent)
    assert text not in {"0 %", "100 %"}
    assert any(digit in text for digit in "123456789")


def test_a_share_too_small_for_percent_has_its_pixels() -> None:
    assert pixels_text(0.00001, 1) == "<0.0001 % (1 pixel)"
    assert pixels_text(0.00001, 12345) == "<0.0001 % (12,345 pixels)"
    assert pixels_text(5, 12345) == "5.00 %"
    assert counted(0, "image") == "0 images"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1000, "1,000"), (0.5, "0.5"), (0.0001, "0.0001"), (1e-5, "10⁻⁵"), (1e-12, "10⁻¹²")],
)
def test_ticks_are_plain_numbers_and_tiny_ones_powers_of_ten(value: float, text: str) -> None:
    assert tick_text(value) == text
