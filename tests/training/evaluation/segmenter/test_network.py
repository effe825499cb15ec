"""The network of the segmenter."""

from __future__ import annotations

import sys

import pytest
import torch

from histods.errors import MissingExtraError
from training.evaluation.segmenter.network import WIDTH, Network


def test_logits_are_those_of_the_whole_network_and_linear_in_the_features() -> None:
    torch.manual_seed(0)
    network = Network(5).eval()
    images = torch.randn(2, 3, 32, 48)
    logits, last = network.look(images)
    assert last.shape == (2, WIDTH, 32, 48)
    torch.testing.assert_close(logits, network(images), rtol=0, atol=0)
    weights = network.state_dict()["unet.final_conv.weight"][:, :, 0, 0]
    bias = network.state_dict()["unet.final_conv.bias"]
    linear = torch.einsum("cd,bdhw->bchw", weights, last) + bias[:, None, None]
    torch.testing.assert_close(logits, linear, rtol=0, atol=1e-4)


def test_without_monai_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.basic_unet", None)
    with pytest.raises(MissingExtraError) as caught:
        Network(3)
    assert str(caught.value) == (
        "The segmenter needs MONAI, which is not installed; run \"pip install 'histods[evaluate]'\"."
    )
