"""Attention whose queries are a mask, computed exactly with two queries per head instead of one per position.

Queries are a 1x1 convolution of a binary mask that is repeated over the channels. So a head has only two distinct
queries: zeros where the mask is zero, and the sum of the convolution's weights over its input channels elsewhere.
A zero query scores all positions equally and gives the mean of the values; the other query needs one softmax. Both
are exact, and no matrix of positions x positions is ever allocated.

Shapes: B samples, C channels, H and W height and width of the features, K heads, D values per head, N positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from training.config.model import AttentionForm

HEADS = 4
HEAD_DIM = 32


class MaskAttention(nn.Module):
    """Multi-head attention from a mask to features, in two forms with the same parameters and results.

    Args:
        dim: channels of the features.
        form: `two_query`, or `plain` with one query per position, as in Vaswani et al. 2017, eq. 1.
    """

    def __init__(self, dim: int, form: AttentionForm = "two_query") -> None:
        super().__init__()
        inner = HEADS * HEAD_DIM
        self.form = form
        self.to_q = nn.Conv2d(dim, inner, 1, bias=False)
        self.to_kv = nn.Conv2d(dim, 2 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner, dim, 1)

    def forward(self, x_BCHW: Tensor, region_B1HW: Tensor) -> Tensor:
        """Attention output, of the shape of x.

        Args:
            x_BCHW: normalised features.
            region_B1HW: bool, where the mask is not zero.
        """
        keys_BCN, values_BCN = self.to_kv(x_BCHW).flatten(2).chunk(2, dim=1)
        attend = self._two_query if self.form == "two_query" else self._plain
        out_BCHW: Tensor = self.to_out(attend(_heads(keys_BCN), _heads(values_BCN), region_B1HW))
        return out_BCHW

    def _two_query(self, keys_BKDN: Tensor, values_BKDN: Tensor, region_B1HW: Tensor) -> Tensor:
        query_KD = self.to_q.weight.sum(dim=(1, 2, 3)).view(HEADS, HEAD_DIM) * HEAD_DIM**-0.5
        weights_BKN = torch.einsum("kd,bkdn->bkn", query_KD, keys_BKDN).softmax(dim=-1)
        inside_BKD = torch.einsum("bkn,bkdn->bkd", weights_BKN.to(values_BKDN.dtype), values_BKDN)
        outside_BKD = values_BKDN.mean(dim=-1)
        return torch.where(
            region_B1HW, inside_BKD.flatten(1)[:, :, None, None], outside_BKD.flatten(1)[:, :, None, None]
        )

    def _plain(self, keys_BKDN: Tensor, values_BKDN: Tensor, region_B1HW: Tensor) -> Tensor:
        mask_BCHW = region_B1HW.to(keys_BKDN.dtype).expand(-1, self.to_q.in_channels, -1, -1)
        queries_BKDN = _heads(self.to_q(mask_BCHW).flatten(2)) * HEAD_DIM**-0.5
        weights_BKMN = torch.einsum("bkdm,bkdn->bkmn", queries_BKDN, keys_BKDN).softmax(dim=-1)
        out_BKDN = torch.einsum("bkmn,bkdn->bkdm", weights_BKMN.to(values_BKDN.dtype), values_BKDN)
        height, width = region_B1HW.shape[2:]
        return out_BKDN.reshape(len(out_BKDN), -1, height, width)


def _heads(features_BCN: Tensor) -> Tensor:
    """Split heads: [B, K D, N] -> [B, K, D, N]."""
    batch, _, positions = features_BCN.shape
    return features_BCN.view(batch, HEADS, HEAD_DIM, positions)
