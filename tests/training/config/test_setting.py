"""One sentence for every setting that is out of range."""

from __future__ import annotations

import pytest

from histods.errors import HistodsError
from training.config.setting import expect_setting, one_of, wrong_setting


def test_the_sentence_has_the_whole_name_the_condition_and_what_was_found() -> None:
    assert str(wrong_setting("model.dim", "a multiple of 8", 7)) == (
        "model.dim is 7; it must be a multiple of 8: correct it in the configuration or with --set."
    )


def test_only_what_does_not_fit_is_refused() -> None:
    expect_setting(True, "model.dim", "positive", 7)
    with pytest.raises(HistodsError, match=r"^model\.dim is -7; it must be positive"):
        expect_setting(False, "model.dim", "positive", -7)


@pytest.mark.parametrize(("names", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_choices_are_listed_as_people_do(names: list[str], text: str) -> None:
    assert one_of(names) == one_of(dict.fromkeys(names)) == text
