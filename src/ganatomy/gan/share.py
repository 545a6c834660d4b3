"""One training in several processes, of which each takes a share of every batch.

Every process draws the whole batch and keeps consecutive samples of it. Logits are gathered, so
that a loss sees the whole batch. Gradients are summed before an update, so that weights stay equal
in all processes. Batch norm and dropout act as on the whole batch. N processes equal one, except
for rounding.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ganatomy.gan.draws import Draws
from ganatomy.gan.losses import Labels


@dataclass(frozen=True)
class Share:
    """The share of each batch that this process takes: all of it, unless there are several."""

    rank: int = 0
    """number of this process; the first one, 0, writes the run folder"""
    size: int = 1
    """number of processes"""
    batch: int = 0
    """samples of the whole batch; 0 in a single process"""
    device: torch.device | None = None
    """device of this process; None in a single process"""

    @property
    def rows(self) -> slice:
        """The samples of the batch that this process takes."""
        first, end = (k * self.batch // self.size for k in (self.rank, self.rank + 1))
        return slice(first, end)

    @property
    def part(self) -> float:
        """The part of the batch that this process takes."""
        return (self.rows.stop - self.rows.start) / self.batch

    def draws(self, whole: Draws) -> Draws:
        """Return the draws of own samples, and the labels of all."""
        return whole if self.size == 1 else SharedDraws(whole, self)

    def gather(self, values: Tensor) -> Tensor:
        """Return the values (batch, ...) of all processes, given those of own samples."""
        return values if self.size == 1 else _Total.apply(self.embed(values))

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the batch, given the mean over own samples."""
        return value if self.size == 1 else _Total.apply(value * self.part)

    def deviation(self, values: Tensor) -> Tensor | None:
        """Return the standard deviation of the values of a batch; None if all are own samples."""
        if self.size == 1:
            return None
        n, _, var = _moments(values.flatten()[:, None])
        return (var * n / (n - 1)).sqrt()[0].to(values.dtype)

    def add_gradients(self, weights: Iterable[Tensor]) -> None:
        """Add the gradients of all processes, in one message."""
        grads = [weight.grad for weight in weights if weight.grad is not None]
        if self.size == 1 or not grads:
            return
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def embed(self, values: Tensor) -> Tensor:
        """Return values (batch, ...) that are 0 except for those of own samples."""
        rows = self.rows
        return pad(values, [0, 0] * (values.ndim - 1) + [rows.start, self.batch - rows.stop])

    def adapt(self, net: nn.Module) -> None:
        """Let the batch norm and dropout of a network act as on the whole batch, in training."""
        if self.size == 1:
            return
        for module in net.modules():
            if isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward:
                module.__class__ = SharedBatchNorm
            elif isinstance(module, _DropoutNd):  # masks are drawn for the whole batch
                module.register_forward_pre_hook(functools.partial(_embed, self))
                module.register_forward_hook(functools.partial(_own, self))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Wait for all processes; raise the error of one in all, for the first one to report."""
        error: Exception | None = None
        try:
            yield
        except Exception as own:
            if self.size == 1:
                raise
            error = own
        if self.size == 1:
            return
        told: list[str | None] = [None] * self.size
        said: str | None = None if error is None else str(error) or type(error).__name__
        dist.all_gather_object(told, said)
        if error is not None and self.rank == 0:
            raise error
        for other in told:
            if other is not None:
                raise ConnectionError(other) from error

    def spread(self, found: Any) -> Any:
        """Return what the first process found."""
        if self.size == 1:
            return found
        sent = [found]
        dist.broadcast_object_list(sent)
        return sent[0]

    def stop(self, received: list[int]) -> int:
        """Return a stop signal that a process has received; 0 if there is none."""
        number = received[0] if received else 0
        if self.size == 1:
            return number
        highest = torch.tensor([number])
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return int(highest)


class SharedDraws:
    """Draws of a process: own samples, and the labels of all."""

    def __init__(self, whole: Draws, share: Share) -> None:
        self.whole, self.share = whole, share

    def real(self) -> Tensor:
        """Return own samples of the next batch."""
        return self.whole.real()[self.share.rows]

    def latent(self) -> Tensor:
        """Return latent vectors of own samples."""
        return self.whole.latent()[self.share.rows]

    def labels(self) -> Labels:
        """Return the targets of the whole batch."""
        return self.whole.labels()

    def uniform(self, *shape: int) -> Tensor:
        """Return random numbers of own samples."""
        return self.whole.uniform(self.share.batch, *shape[1:])[self.share.rows]


class SharedBatchNorm(_BatchNorm):
    """Batch norm, in training over the samples of all processes.

    PyTorch's SyncBatchNorm runs on GPUs only.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return normalized samples (N, C, ...)."""
        if not self.training:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        n, mean, var = _moments(wide)
        self._update(n, mean, var)
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = (var + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        normed = (wide - mean.to(wide.dtype).view(shape)) * scale.to(wide.dtype).view(shape)
        normed = normed if self.bias is None else normed + self.bias.view(shape)
        return normed.to(x.dtype)

    @torch.no_grad()
    def _update(self, n: Tensor, mean: Tensor, var: Tensor) -> None:
        """Update the running statistics, as PyTorch does."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
        for kept, now in ((self.running_mean, mean), (self.running_var, var * n / (n - 1))):
            kept.add_(share * (now.to(kept.dtype) - kept))


def _moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return count, mean and variance (C,) of values (N, C, ...) of all processes, in float64."""
    dims = [dim for dim in range(values.ndim) if dim != 1]
    var, mean = (part.double() for part in torch.var_mean(values, dims, correction=0))
    sums = torch.stack([torch.ones_like(mean), mean, var + mean.square()])
    n, mean, square = _Sum.apply(sums * (values.numel() / len(mean)))
    return n, mean / n, square / n - (mean / n).square()


class _Sum(torch.autograd.Function):
    """The sum over all processes, which use it on different samples."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.apply(grad)


class _Total(_Sum):
    """The sum over all processes, which compute the same from it: each has its own gradient."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def _embed(share: Share, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
    here = module.training and len(inputs[0]) == share.rows.stop - share.rows.start
    return (share.embed(inputs[0]),) if here else None


def _own(
    share: Share, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor | None:
    return output[share.rows] if module.training and len(output) == share.batch else None
