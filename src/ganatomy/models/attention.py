"""Self-attention between all positions of a feature map (Zhang et al. 2019, arXiv 1805.08318)."""

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Feature maps (N, C, H, W) plus a gate, initially 0, times their attention.

    Queries, keys and values are 1 x 1 convolutions to an eighth of the channels, as in the paper.
    PyTorch's fused attention has no second derivative, which gradient penalties need.
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
        """Return x + gate * attention(x)."""
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        weights = (query.mT @ key).softmax(2)  # (N, positions, positions), each row sums to 1
        attended = (value @ weights.mT).view(len(x), -1, *x.shape[2:])
        return x + self.gate * self.out(attended)
