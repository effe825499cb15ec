"""What `train` takes where nobody says otherwise."""

from __future__ import annotations

import pytest
import torch

from training.config.sections import RunConfig, What
from training.distributed import Process
from training.verbs.train_settings import defaults_for, layout_for


@pytest.mark.parametrize(
    ("device", "compiled", "innermost"),
    [("cuda", True, True), ("cuda", False, False), ("cpu", True, False), ("cpu", False, False)],
)
def test_channels_are_innermost_only_in_a_network_that_is_compiled_for_a_gpu(
    device: str, compiled: bool, innermost: bool
) -> None:
    assert layout_for(torch.device(device), RunConfig(compile=compiled)) == {"run": {"channels_last": innermost}}


KINDS: tuple[What, What] = ("masks", "images")


def test_masks_have_defaults_of_their_own() -> None:
    process = Process(device=torch.device("cpu"))
    masks, images = (defaults_for(process, complete=True, what=what) for what in KINDS)
    assert masks["data"]["what"] == "masks"
    assert masks["model"] == {"dim": 16, "spatial": False, "class_conditioning": "proportions"}
    assert "what" not in images["data"]
    assert defaults_for(process, complete=True) == images
