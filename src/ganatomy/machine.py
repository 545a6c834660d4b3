"""The machine: what it is, which of its devices to train on, and its signals to stop."""

import contextlib
import os
import platform
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ganatomy import __version__


def environment() -> dict[str, Any]:
    """The machine and the versions that numbers depend on, without names of people or folders."""
    return {
        "ganatomy": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def pick_device(name: str) -> torch.device:
    """Turn the device option into a device that is there; auto takes CUDA, MPS or the CPU.

    Raises:
        ValueError: for a device that is unknown or absent.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        known = accelerator is not None and accelerator.type in ("cuda", "mps")
        return accelerator if accelerator is not None and known else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # a name that is none, a build without CUDA, a device kind that cannot hold tensors
        raise ValueError(f"device {name!r} is not available here (auto and cpu are)") from error
    return device


@contextlib.contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM, so that no step is cut in half; a second one is obeyed.

    Off the main thread, where Python allows no handlers, nothing is collected.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
