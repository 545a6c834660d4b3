"""The machine: its description, devices, memory allocator and stop signals."""

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
    """Return the hardware and versions that results depend on; nothing names a person or folder."""
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
    """Return the device of an option: auto takes CUDA, else MPS, else the CPU.

    Raises:
        ValueError: for an unknown or absent device.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        known = accelerator is not None and accelerator.type in ("cuda", "mps")
        return accelerator if accelerator is not None and known else torch.device("cpu")
    if "," in name or " " in name.strip():
        raise ValueError(
            f"a process uses one device, got {name!r}; give one, such as cuda:0; several train one "
            "run with --devices 2, and runs of a study with --jobs 2"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # an invalid name, a build without CUDA, a device that cannot hold tensors
        raise ValueError(f"device {name!r} is not available; use auto or cpu") from error
    return device


@contextlib.contextmanager
def numerics(device: torch.device, precision: str = "fp32", fast: bool = False) -> Iterator[None]:
    """Set how a CUDA device multiplies and which algorithms it may use, and restore both.

    Args:
        device: on any other device nothing changes.
        precision: tf32 lets float32 products use TensorFloat-32, which PyTorch allows for
            convolutions by default; otherwise they are exact to float32.
        fast: allow algorithms whose results differ from one call to the next.

    Raises:
        ValueError: for tf32 on another device.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise ValueError(
                f"precision tf32 needs a CUDA device, got {device.type}; use fp32 or bf16"
            )
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS needs it
    cudnn: Any = torch.backends.cudnn
    products: tuple[Any, Any] = (torch.backends.cuda.matmul, cudnn.conv)
    before = [product.fp32_precision for product in products]
    deterministic = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    try:
        for product in products:
            product.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        torch.use_deterministic_algorithms(not fast)
        settings.fill_uninitialized_memory = False
        yield
    finally:
        for product, kept in zip(products, before, strict=True):
            product.fp32_precision = kept
        torch.use_deterministic_algorithms(deterministic)
        settings.fill_uninitialized_memory = fills


def native_bf16(device: torch.device) -> bool:
    """Return whether the device has native bfloat16, without which it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return device.type == "mps" or any(
        can.get(part) for part in ("amx_bf16", "avx512_bf16", "bf16")
    )


def keep_memory() -> bool:
    """Make the allocator keep freed memory; return whether that is possible (glibc only).

    Each step allocates the same large blocks. By default glibc returns them to the system, which
    clears them page by page for the next step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mmap_threshold, trim_threshold, arena_max, largest = -3, -1, -8, 32 << 20
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((mmap_threshold, largest), (trim_threshold, 2**31 - 1), (arena_max, 1))
    return all([mallopt(*setting) == 1 for setting in settings])


@contextlib.contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Record the first SIGINT or SIGTERM, so that a step can end; a second one interrupts.

    Yields the list of recorded signals, which stays empty outside the main thread.
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
