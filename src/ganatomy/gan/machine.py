"""The machine: what it is, which of its devices to train on, and its signals to stop."""

import contextlib
import ctypes
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


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by itself; without, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return device.type == "mps" or any(
        can.get(part) for part in ("amx_bf16", "avx512_bf16", "bf16")
    )


def keep_memory() -> bool:
    """Let the allocator keep what tensors free; return whether it is one that can be told so.

    A step takes and frees the same large blocks as the one before. glibc gives such back to the
    system each time, which then clears them, page by page, for the next step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mmap_threshold, trim_threshold, arena_max, largest = -3, -1, -8, 32 << 20
    tell = ctypes.CDLL(None).mallopt
    told = ((mmap_threshold, largest), (trim_threshold, 2**31 - 1), (arena_max, 1))
    return all([tell(*what) == 1 for what in told])


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
