"""Self-attention (Zhang et al. 2019, SAGAN, arXiv 1805.08318): every place looks at every other."""

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Feature maps (N, C, H, W) to themselves plus what they attend to, by a gate that begins at 0.

    Queries, keys and values are 1 x 1 convolutions to an eighth of the channels, as in the paper.
    Written out rather than fused, so that gradient penalties can be differentiated twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, inner, 1, bias=False)
        self.out = nn.Conv2d(inner, channels, 1, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + gate * attended."""
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        weights = (query.mT @ key).softmax(2)  # (N, places, places): each row sums to 1
        attended = (value @ weights.mT).view(len(x), -1, *x.shape[2:])
        return x + self.gate * self.out(attended)
