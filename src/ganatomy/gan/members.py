"""Networks of many members with one shape as one network, through torch.func.vmap."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _SpectralNorm

from ganatomy.data import derive_seed

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Dropped:
    """Input of a dropout layer in one pass."""

    p: float
    """probability of a zero"""
    like: Tensor
    """tensor of its shape; the strides decide in which order a CPU draws the mask"""


class Masks(Protocol):
    """Draws the masks of dropout layers."""

    def begin(self, step: Tensor) -> None:
        """Start a step, whose number is (1,) on the device."""

    def __call__(self, layer: Dropped) -> Tensor:
        """Return the next mask of every member, (M, *shape), of 0 and 1 / (1 - p)."""


class CpuMasks:
    """Masks of dropout layers as the members' runs alone draw them on a CPU."""

    def __init__(self, rngs: Sequence[torch.Generator]) -> None:
        self.rngs = rngs

    def begin(self, step: Tensor) -> None:
        """Do nothing: whoever draws the rest of a step seeds the generators."""

    def __call__(self, layer: Dropped) -> Tensor:
        """Return the next mask of every member."""
        kept = 1 - layer.p
        if kept == 0:  # PyTorch draws nothing then
            return layer.like.new_zeros(len(self.rngs), *layer.like.shape)
        drawn = [torch.empty_like(layer.like).bernoulli_(kept, generator=r) for r in self.rngs]
        return torch.stack(drawn).div_(kept)


class HashedMasks:
    """Masks that are functions of (seed, step, pass), drawn on a device without a generator."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.keys = torch.tensor([derive_seed(seed) % _WORD for seed in seeds], device=device)
        self.step, self.passes = self.keys[:1], 0

    def begin(self, step: Tensor) -> None:
        """Start a step, whose number (1,) is read where masks are drawn."""
        self.step, self.passes = step, 0

    def __call__(self, layer: Dropped) -> Tensor:
        """Return the next mask of every member."""
        self.passes += 1
        key = _hash(_hash(_hash(self.keys) + self.step) + self.passes)
        places = torch.arange(layer.like.numel(), device=key.device)
        share = _hash(_hash(places) ^ key[:, None]).double() / _WORD
        kept = (share < 1 - layer.p).to(layer.like.dtype).view(-1, *layer.like.shape)
        return kept / (1 - layer.p) if layer.p < 1 else kept


_WORD = 2**32


def _hash(x: Tensor) -> Tensor:
    """Mix the lower 32 bits of integers."""
    for _ in range(2):
        x = x % _WORD
        x = (x ^ (x >> 16)) * 0x45D9F3B
    x = x % _WORD
    return x ^ (x >> 16)


class Masked(nn.Module):
    """nn.Dropout with a given mask."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the mask."""
        return x * self.mask.to(x.dtype)


class PowerIteration(nn.Module):
    """PyTorch's spectral norm without `out=`, which vmap does not take; buffers of its names."""

    _u: Tensor
    _v: Tensor

    def __init__(self, old: _SpectralNorm) -> None:
        super().__init__()
        self.matrix, self.eps = old._reshape_weight_to_matrix, old.eps
        self.steps = old.n_power_iterations
        self.register_buffer("_u", old._u)
        self.register_buffer("_v", old._v)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight divided by its spectral norm."""
        matrix = self.matrix(weight)
        with torch.no_grad():
            for _ in range(self.steps):
                self._u.copy_(F.normalize(torch.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(torch.mv(matrix.mT, self._u), dim=0, eps=self.eps))
        u, v = self._u.clone(), self._v.clone()  # the next pass changes the buffers
        return weight / torch.dot(u, torch.mv(matrix, v))


class BatchNorm(nn.Module):
    """PyTorch's batch norm in training, by the function that vmap takes on every device."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, old: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        assert old.momentum is not None
        self.momentum, self.eps = old.momentum, old.eps
        self.weight, self.bias = old.weight, old.bias
        for name, buffer in old.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalized over all axes but its second, and update the running statistics."""
        self.num_batches_tracked.add_(1)
        found: Tensor = torch.native_batch_norm(
            x, self.weight, self.bias, self.running_mean, self.running_var, True, self.momentum,
            self.eps,
        )[0]  # fmt: skip
        return found


class Stacked(nn.Module):
    """M networks of one structure: inputs (M, N, ...) to outputs (M, N, ...).

    Its parameters and buffers are those of the networks, in the same order, stacked to (M, ...).
    """

    def __init__(self, nets: Sequence[nn.Module], masks: Masks, batch: Tensor) -> None:
        """Stack networks.

        Args:
            nets: networks, which stay as they are.
            masks: draws the masks of dropout layers.
            batch: input of one network in training (N, ...).

        Raises:
            RuntimeError: if vmap cannot run the networks.
        """
        super().__init__()
        self._masks = masks
        self._net = (skeleton(nets[0]),)  # in a tuple, so that it is not a submodule
        self._dropped = dropped(nets[0], batch)
        self._weight_names = [name for name, _ in nets[0].named_parameters()]
        self._buffer_names = [name for name, _ in nets[0].named_buffers()]
        each = zip(*(net.parameters() for net in nets), strict=True)
        self.weights = nn.ParameterList(nn.Parameter(torch.stack(part).detach()) for part in each)
        for k, part in enumerate(zip(*(net.buffers() for net in nets), strict=True)):
            self.register_buffer(f"buffer{k}", torch.stack(part))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each network to its part of x, in training; buffers are updated."""
        weights = dict(zip(self._weight_names, self.weights, strict=True))
        buffers = dict(zip(self._buffer_names, self.buffers(), strict=True))
        masks = {f"{name}.mask": self._masks(layer) for name, layer in self._dropped.items()}

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            made: Tensor = functional_call(self._net[0], (weights, buffers), (x,))
            return made

        found: Tensor = vmap(one)(weights, buffers | masks, x)
        return found

    @torch.no_grad()
    def write_member(self, m: int, net: nn.Module) -> None:
        """Copy member m's weights and buffers to a network, in its memory format."""
        for theirs, ours in zip(net.parameters(), self.parameters(), strict=True):
            theirs.copy_(ours[m])
        for kept, stacked in zip(net.buffers(), self.buffers(), strict=True):
            kept.copy_(stacked[m])


def skeleton(net: nn.Module) -> nn.Module:
    """Return a copy of a network, of the same parameters and buffers, that vmap can run."""
    net = copy.deepcopy(net).requires_grad_(False).train()
    for part in list(net.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.Dropout):
                setattr(part, name, Masked())
            elif isinstance(child, _SpectralNorm):
                setattr(part, name, PowerIteration(child))
            elif isinstance(child, BATCH_NORMS) and child.momentum and child.track_running_stats:
                setattr(part, name, BatchNorm(child))
    return net


def dropped(net: nn.Module, batch: Tensor) -> dict[str, Dropped]:
    """Return what the dropout layers of a network are given in a pass, by path, in their order.

    Raises:
        RuntimeError: if a layer is used more than once in a pass.
    """
    net = copy.deepcopy(net).train()
    found: dict[str, Dropped] = {}

    def note(name: str, p: float, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if name in found:
            raise RuntimeError(f"the dropout layer {name} is used twice in a pass")
        found[name] = Dropped(p, torch.empty_like(inputs[0]))

    for name, part in net.named_modules():
        if isinstance(part, nn.Dropout):
            part.register_forward_pre_hook(partial(note, name, part.p))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net(batch)
    return found
