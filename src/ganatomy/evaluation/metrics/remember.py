"""What metrics compute of the reference alone, kept for as long as its tensors live."""

import functools
import weakref
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def remembered(compute: Callable[P, T]) -> Callable[P, T]:
    """Return a function that computes its result once for equal arguments.

    Tensors are equal if they are one object that has not been changed in place; other arguments
    must be hashable. A result is dropped with the first of its tensors, which it must not hold
    itself. Callers must not change it.
    """
    kept: dict[Hashable, T] = {}

    @functools.wraps(compute)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        parts = (*args, *kwargs.values())
        key = (*map(_identity, parts), *kwargs)
        if key not in kept:
            kept[key] = compute(*args, **kwargs)
            for part in parts:
                if isinstance(part, Tensor):
                    weakref.finalize(part, kept.pop, key, None).atexit = False
        return kept[key]

    return call


def placed(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the copy lives as long as the tensor."""
    return x if x.device == device else _copied(x, device)


@remembered
def _copied(x: Tensor, device: torch.device) -> Tensor:
    return x.to(device)


def _identity(part: object) -> Hashable:
    """Return what stands for an argument in a key."""
    if isinstance(part, Tensor):
        return id(part), 0 if part.is_inference() else part._version
    assert isinstance(part, Hashable)
    return part
