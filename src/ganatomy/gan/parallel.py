"""Processes that train one run together: they find each other and take a device each."""

import contextlib
import datetime
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from ganatomy.gan import launch
from ganatomy.gan.machine import pick_device
from ganatomy.gan.share import Share

WAIT = datetime.timedelta(days=1)
"""Longest wait for another process, such as for the first one while it evaluates."""


@contextlib.contextmanager
def processes(batch: int, device: str) -> Iterator[Share]:
    """Join the processes that torchrun or --devices started for one training, if any.

    Args:
        batch: samples of each batch.
        device: name of a device; each process takes one of its kind.

    Raises:
        ValueError: if there are too few samples, devices or cores, or several kinds of cards.
        ConnectionError: if another process has ended.
    """
    n = launch.size()
    if n == 1:
        yield Share()
        return
    if batch < n:
        raise ValueError(
            f"expected a batch of at least {n} samples for {n} processes, got {batch}; "
            "raise --batch or use fewer --devices"
        )
    own = _own_device(device)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=WAIT)
        share = Share(launch.rank(), n, batch, own)
        _check_cards(share)
        yield share
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ConnectionError(
                "another process of this training has ended; what was saved before is kept; "
                "repeat the command to continue"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _own_device(name: str) -> torch.device:
    """Return the device of this process, one for each on a machine."""
    local, count = (
        int(os.environ.get(f"LOCAL_{k}", at)) for k, at in (("RANK", 0), ("WORLD_SIZE", 1))
    )
    if name != "cpu" and local < torch.cuda.device_count():
        torch.cuda.set_device(local)  # before anything else takes memory of the first card
    device = pick_device(name)
    if device.type not in ("cpu", "cuda") or ":" in name:
        raise ValueError(
            f"expected device cpu or cuda for several processes, got {name} ({device}); choose "
            "cards with CUDA_VISIBLE_DEVICES"
        )
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    if count > there:
        kind = "CUDA devices" if device.type == "cuda" else "cores"
        raise ValueError(
            f"expected at most {there} processes for the {there} {kind} of this machine, got "
            f"{count}; use --devices {there}"
        )
    return device if device.type == "cpu" else torch.device("cuda", local)


def _check_cards(share: Share) -> None:
    """Raise ValueError unless all processes have the same kind of device."""
    assert share.device is not None
    own = torch.cuda.get_device_name(share.device) if share.device.type == "cuda" else "cpu"
    names = [""] * share.size
    dist.all_gather_object(names, own)
    if len({*names}) > 1:
        raise ValueError(
            f"expected devices of one kind, got {' and '.join(sorted({*names}))}; choose with "
            "CUDA_VISIBLE_DEVICES and fewer --devices"
        )
