"""The section `model` of a configuration: what cannot be is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from histods.errors import HistodsError
from training.model_config import ModelConfig


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dim": 7}, "even model.dim of at least 4, found 7"),
        ({"dim": 2}, "even model.dim of at least 4, found 2"),
        ({"num_classes": 0}, "model.num_classes from 1, found 0"),
        ({"dim_mults": ()}, r"model.dim_mults from 1, such as \[1, 2, 4\], found \[\]"),
        ({"dim_mults": (1, 0)}, r"found \[1, 0\]"),
        ({"channels": 0}, "model.channels from 1, found 0"),
        ({"resnet_block_groups": 0}, "resnet_block_groups from 1, found 0"),
        ({"resnet_block_groups": 3}, r"widths that model.resnet_block_groups = 3 divides, found \[256"),
        ({"block_per_layer": 3}, "block_per_layer of 2, found 3"),
        ({"image_size": 48}, "multiple of 32 .8 pixels a latent, halved 2 times., found 48"),
        ({"image_size": 0}, "found 0"),
        ({"dropout": 1.0}, "dropout from 0 to under 1, found 1.0"),
        ({"class_conditioning": "mean"}, "class_conditioning to be histogram or max, found 'mean'"),
        ({"null": "zero"}, "null to be learned or zero_mask, found 'zero'"),
        ({"attention": "flash"}, "attention to be two_query or plain, found 'flash'"),
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
