"""What the network is told of a mask is what the mask holds, counted pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from histods.errors import HistodsError
from training.config.model import ModelConfig
from training.model.conditioning import (
    CONDITIONINGS,
    ClassHistogram,
    ClassProportions,
    MaskReader,
    find_conditioning,
)

KEPT = torch.tensor([False])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), classes=st.integers(1, 5), cells=st.tuples(st.integers(1, 3), st.integers(1, 3))
)
def test_fractions_are_those_counted_by_hand(seed: int, classes: int, cells: tuple[int, int]) -> None:
    h, w = 2 * cells[0], 2 * cells[1]
    mask = np.random.default_rng(seed).integers(0, classes, (4 * h, 2 * w))
    reading = MaskReader(classes, 2, largest=False)(torch.from_numpy(mask)[None, None], KEPT, (h, w))
    for label in range(classes):
        assert float(reading.distribution_BK[0, label]) == pytest.approx((mask == label).mean(), abs=1e-6)
        blocks = (mask == label).reshape(h, 4, w, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(reading.cells_BKhw[0, label], blocks, atol=1e-6)
    assert float(reading.distribution_BK.sum()) == pytest.approx(1)
    fine, coarse = (region[0, 0].numpy() for region in reading.regions)
    np.testing.assert_array_equal(fine, (mask > 0).reshape(h, 4, w, 2).any(axis=(1, 3)))
    np.testing.assert_array_equal(coarse, fine.reshape(h // 2, 2, w // 2, 2).any(axis=(1, 3)))


def test_of_classes_the_one_with_the_largest_number_counts_alone() -> None:
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    mask[..., :6] = 1
    mask[..., 0, 0] = 3
    reading = MaskReader(5, 1, largest=True)(mask, KEPT, (2, 2))
    assert reading.distribution_BK.tolist() == [[0, 0, 0, 1, 0]]


def test_a_dropped_mask_is_read_as_zeros_and_harms_no_other_sample() -> None:
    random = torch.Generator().manual_seed(0)
    masks = torch.randint(3, (3, 1, 8, 8), generator=random, dtype=torch.uint8)
    reader = MaskReader(3, 2, largest=False)
    dropped = reader(masks, torch.tensor([False, True, False]), (4, 4))
    zeroed = masks.clone()
    zeroed[1] = 0
    for one, other in zip(dropped, reader(zeroed, KEPT.expand(3), (4, 4)), strict=True):
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("shape", [(1, 1, 7, 8), (1, 2, 8, 8), (1, 8, 8), (1, 1, 0, 8)])
def test_masks_of_other_shapes_are_refused_in_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(HistodsError, match=r"^The masks are \[.*\]; they must be \[B, 1, H, W\] with H and W"):
        MaskReader(3, 1, largest=False)(torch.zeros(shape, dtype=torch.uint8), KEPT, (4, 4))


class Net(nn.Module):
    """A network of the parts of a conditioning alone."""

    def __init__(self, conditioning: ClassHistogram) -> None:
        super().__init__()
        for name, part in conditioning.parts().items():
            setattr(self, name, part)


@pytest.mark.parametrize("null", ["learned", "zero_mask"])
@pytest.mark.parametrize("spatial", [True, False])
def test_a_dropped_condition_depends_on_no_mask(null: str, spatial: bool) -> None:
    config = ModelConfig(dim=8, num_classes=4, null=null, spatial=spatial)  # type: ignore[arg-type]
    conditioning = ClassHistogram(config)
    net = Net(conditioning)
    masks = torch.randint(4, (2, 1, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    dropped, kept = (conditioning.read(net, masks, torch.tensor([flag] * 2), (4, 4)) for flag in (True, False))
    assert torch.allclose(dropped.embedding_BE[0], dropped.embedding_BE[1])
    assert not torch.allclose(kept.embedding_BE[0], kept.embedding_BE[1])
    assert conditioning.channels == (4 if spatial else 0)
    assert (dropped.planes_BChw is not None) == spatial
    if dropped.planes_BChw is not None:
        assert dropped.planes_BChw.shape == (2, 4, 4, 4)
        assert bool((dropped.planes_BChw[0] == dropped.planes_BChw[1]).all())
        assert bool(dropped.planes_BChw.any()) == (null == "zero_mask")


def test_a_conditioning_is_found_by_name_or_all_are_named() -> None:
    assert {find_conditioning(name) for name in CONDITIONINGS} == {*CONDITIONINGS.values()}
    with pytest.raises(
        HistodsError, match="^model.class_conditioning is 'mean'; it must be histogram, max or proportions: "
    ):
        find_conditioning("mean")


def proportions(*wanted: float, dropped: bool = False, masks: torch.Tensor | None = None) -> torch.Tensor:
    """The embedding of proportions, or of a mask."""
    config = ModelConfig(image_size=32, dim=8, num_classes=3, dim_mults=(1, 2), class_conditioning="proportions")
    torch.manual_seed(0)
    net = nn.Module()
    conditioning = ClassProportions(config)
    for name, part in conditioning.parts().items():
        setattr(net, name, part)
    condition = conditioning.read(
        net, torch.tensor([wanted]) if masks is None else masks, torch.tensor([dropped]), (8, 4)
    )
    assert condition.planes_BChw is None
    assert [tuple(region.shape) for region in condition.regions] == [(1, 1, 8, 4), (1, 1, 4, 2)]
    assert all(bool(region.all()) for region in condition.regions)
    return condition.embedding_BE


def test_a_mask_tells_a_network_that_makes_masks_its_proportions_and_nothing_else() -> None:
    mask = torch.tensor([[0, 0, 1, 2]], dtype=torch.uint8).repeat(8, 1)[None, None]
    shuffled = mask.flatten()[torch.randperm(32)].view(1, 1, 8, 4)
    known = proportions(0.5, 0.25, 0.25)
    assert torch.allclose(proportions(masks=mask), known)
    assert torch.allclose(proportions(masks=shuffled), known)
    assert not torch.allclose(proportions(0.5, 0.5, 0), known)


def test_a_free_class_is_not_one_without_pixels_and_dropped_ones_are_all_free() -> None:
    nan = float("nan")
    assert not torch.allclose(proportions(0.5, nan, nan), proportions(0.5, 0, 0))
    assert torch.equal(proportions(0.5, 0.2, 0.3, dropped=True), proportions(nan, nan, nan))
