"""Operations counted: those known of the reference, and what changes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from histods.errors import HistodsError
from training.config.model import ModelConfig
from training.model.flops import count_flops

REFERENCE = ModelConfig(num_classes=5, null="zero_mask")
PLAIN = replace(REFERENCE, attention="plain")
GIGA = 1e9


def test_a_training_image_costs_541_gflop_with_two_queries_and_596_with_one_a_position() -> None:
    assert count_flops(REFERENCE, train=True) == pytest.approx(541 * GIGA, rel=0.01)
    assert count_flops(PLAIN, train=True) == pytest.approx(596 * GIGA, rel=0.01)


def test_a_forward_pass_costs_its_convolutions_and_only_the_plain_form_products_of_positions() -> None:
    assert count_flops(PLAIN, train=False) == pytest.approx(198.8 * GIGA, rel=0.001)
    assert count_flops(REFERENCE, train=False) == pytest.approx(180.4 * GIGA, rel=0.01)


def test_two_queries_grow_with_the_positions_and_plain_attention_with_their_square() -> None:
    small = ModelConfig(num_classes=3, dim=8, image_size=128)
    large = replace(small, image_size=256)

    def forward(config: ModelConfig) -> int:
        return count_flops(config, train=False)

    assert forward(large) / forward(small) == pytest.approx(4, rel=0.01)
    plain_large, plain_small = (forward(replace(config, attention="plain")) for config in (large, small))
    assert plain_large > 5 * plain_small


def test_one_more_channel_costs_what_two_layers_cost_by_hand() -> None:
    config = ModelConfig(num_classes=2, dim=8, dim_mults=(1,), image_size=64)
    wider = replace(config, channels=5)
    positions, outputs = 8 * 8, 8
    init_conv = 2 * positions * outputs * 7 * 7
    final_conv = 2 * positions * outputs
    assert count_flops(wider, train=False) - count_flops(config, train=False) == init_conv + final_conv


def test_counting_leaves_gradients_and_devices_as_they_were() -> None:
    count_flops(replace(REFERENCE, dim=8), train=False)
    assert torch.is_grad_enabled()
    assert torch.empty(1).device.type == "cpu"


def test_an_open_number_of_classes_is_refused() -> None:
    with pytest.raises(HistodsError, match="num_classes"):
        count_flops(ModelConfig(), train=False)
