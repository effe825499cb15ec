"""What `train` takes where nobody says otherwise."""

from __future__ import annotations

import pytest
import torch

from training.config.sections import RunConfig
from training.verbs.train_settings import layout_for


@pytest.mark.parametrize(
    ("device", "compiled", "innermost"),
    [("cuda", True, True), ("cuda", False, False), ("cpu", True, False), ("cpu", False, False)],
)
def test_channels_are_innermost_only_in_a_network_that_is_compiled_for_a_gpu(
    device: str, compiled: bool, innermost: bool
) -> None:
    assert layout_for(torch.device(device), RunConfig(compile=compiled)) == {"run": {"channels_last": innermost}}
