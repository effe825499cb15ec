"""The section `model` of a configuration: what cannot be is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from histods.errors import HistodsError
from training.config.model import ModelConfig


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dim": 7}, "model.dim is 7; it must be an even number of at least 4: correct it"),
        ({"dim": 2}, "model.dim is 2; it must be an even number of at least 4"),
        ({"num_classes": 0}, "model.num_classes is 0; it must be at least 1"),
        ({"dim_mults": ()}, r"dim_mults is \[\]; it must be a list of numbers from 1, such as \[1, 2, 4\]"),
        ({"dim_mults": (1, 0)}, r"dim_mults is \[1, 0\]; it must"),
        ({"channels": 0}, "model.channels is 0; it must be at least 1"),
        ({"resnet_block_groups": 0}, "resnet_block_groups is 0; it must be at least 1"),
        ({"resnet_block_groups": 3}, r"resnet_block_groups is 3; it must be a divisor of all the widths \[256"),
        ({"block_per_layer": 3}, "block_per_layer is 3; it must be 2"),
        ({"image_size": 48}, "size is 48; it must be a multiple of 32 .8 pixels per latent, halved 2 times.:"),
        ({"image_size": 0}, "image_size is 0; it must"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"null": "zero"}, "null is 'zero'; it must be learned or zero_mask"),
        ({"attention": "flash"}, "attention is 'flash'; it must be two_query or plain"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(HistodsError, match=expected) as caught:
        ModelConfig(**changes)
    assert "\n" not in str(caught.value)


def test_widths_and_sizes_follow_from_the_multiples() -> None:
    assert ModelConfig().widths == (256, 256, 512, 1024)
    assert ModelConfig().size_multiple == 4
    assert ModelConfig(dim=8, dim_mults=(3,)).widths == (8, 24)
    assert ModelConfig(dim_mults=(3,)).size_multiple == 1
