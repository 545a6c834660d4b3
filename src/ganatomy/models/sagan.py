"""SAGAN (Zhang et al. 2019, arXiv 1805.08318) without classes, for square images of many sizes.

Residual blocks as in Miyato et al. 2018 (arXiv 1802.05957), self-attention between them. The
generator doubles sides from the smallest to which the image's side can be halved (4, or 7 for 28).
The discriminator halves them to 8 or less, has two more blocks, and sums over positions.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ganatomy.models.attention import SelfAttention
from ganatomy.models.net import Model, NetworkConfig, Networks, check_attention, one_width


class UpBlock(nn.Module):
    """Norm, activation and 3 x 3 convolution, twice, from side s to 2 s, with a 1 x 1 skip."""

    def __init__(self, channels: int, net: NetworkConfig) -> None:
        super().__init__()
        self.before = nn.Sequential(*_entry(channels, net))
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.rest = nn.Sequential(
            *_entry(channels, net), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.skip = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, s, s) to (N, C, 2 s, 2 s)."""
        inner = self.rest(self.first(_double(self.before(x))))
        # a 1 x 1 convolution commutes with doubling, and costs a quarter before it
        return inner + _double(self.skip(x))


class DownBlock(nn.Module):
    """Two 3 x 3 convolutions with a 1 x 1 skip, from side s to s, or to s / 2 by average pooling.

    The first block of a network takes images and applies no activation to them.
    """

    def __init__(
        self, before: int, channels: int, net: NetworkConfig, *, halve: bool, first: bool
    ) -> None:
        super().__init__()
        start: list[nn.Module] = [] if first else _entry(before, net)
        self.inner = nn.Sequential(
            *start,
            nn.Conv2d(before, channels, 3, padding=1),
            *_entry(channels, net),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        plain = before == channels and not halve
        self.skip: nn.Module = nn.Identity() if plain else nn.Conv2d(before, channels, 1)
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, s, s) to (N, channels, s or s / 2, the same)."""
        inner = self.inner(x)
        if self.halve:  # averages commute with a 1 x 1 convolution too
            inner, x = F.avg_pool2d(inner, 2), F.avg_pool2d(x, 2)
        return inner + self.skip(x)


class SumPool(nn.Module):
    """Feature maps (N, C, H, W) to their sums over positions (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums."""
        return x.sum((2, 3))


def build(shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig) -> Networks:
    """Build both networks; every block has the network's one width.

    Raises:
        ValueError: for images that are not square or whose side cannot be halved to 8 or less,
            for more than one width, or for attention at an absent side.
    """
    ups = _halved(shape[-1], 4)[::-1]
    downs = _halved(shape[-1], 8)
    if len(shape) != 3 or shape[1] != shape[2] or downs[-1] > 8 or len(downs) < 2:
        raise ValueError(
            "sagan makes square images whose side can be halved once or more, to 8 or less, "
            f"not {shape}; set shape, such as 3 32 32"
        )
    one_width("sagan", (("g_widths", g), ("d_widths", d)))
    check_attention("sagan", g, ups[1:])
    check_attention("sagan", d, downs[1:])
    return _generator(shape[0], z_dim, g, ups), _discriminator(shape[0], d, downs)


def _halved(side: int, least: int) -> list[int]:
    """Return a side and its halves, down to the least or to an odd number."""
    sides = [side]
    while sides[-1] % 2 == 0 and sides[-1] > least:
        sides.append(sides[-1] // 2)
    return sides


def _generator(channels: int, z_dim: int, net: NetworkConfig, sides: list[int]) -> nn.Module:
    width, start = net.widths[0], sides[0]
    layers: list[nn.Module] = [
        nn.Linear(z_dim, width * start * start),
        nn.Unflatten(1, (width, start, start)),
    ]
    for side in sides[1:]:
        layers += [UpBlock(width, net), *_attention(width, net, side)]
    return nn.Sequential(
        *layers, *_entry(width, net), nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()
    )


def _discriminator(channels: int, net: NetworkConfig, sides: list[int]) -> nn.Module:
    width = net.widths[0]
    layers: list[nn.Module] = []
    for side in sides[1:]:
        before = width if layers else channels
        block = DownBlock(before, width, net, halve=True, first=not layers)
        layers += [block, *_attention(width, net, side)]
    plain = [DownBlock(width, width, net, halve=False, first=False) for _ in range(2)]
    last = [net.active("relu"), SumPool(), nn.Linear(width, 1), nn.Flatten(0)]
    return nn.Sequential(*layers, *plain, *last)


def _entry(channels: int, net: NetworkConfig) -> list[nn.Module]:
    """Return the layers before a convolution: norm, activation, dropout."""
    norm = [nn.BatchNorm2d(channels)] if net.norm != "none" else []
    return [*norm, net.active("relu"), *([nn.Dropout(net.dropout)] if net.dropout else [])]


def _attention(channels: int, net: NetworkConfig, side: int) -> list[nn.Module]:
    return [SelfAttention(channels)] if side in net.attention else []


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


SAGAN = Model(
    build,
    "residual, with self-attention, for square images; one number of channels, of every block "
    "(Zhang et al. 2019)",
    frozenset({"norm", "dropout", "activation", "attention", "one_pass"}),
)
