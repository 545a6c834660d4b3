"""Several processes for one training, started here or by torchrun; readable without torch."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType

PATIENCE = 20.0
"""Seconds for other processes to end after one has failed."""


def rank() -> int:
    """Return the number of this process among those that train together; 0 is the first."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


def size() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def launch(n: int, arguments: Sequence[str]) -> int:
    """Run a command in n processes of this machine and return the exit code of the first one.

    Stop signals are passed on. If a process fails, the others end too.

    Args:
        n: number of processes.
        arguments: of the command line.

    Raises:
        ChildProcessError: if a process was killed and the first one could not report it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // n)
    shared = {"WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    command = [sys.executable, "-m", "ganatomy", *arguments]
    started: list[subprocess.Popen[bytes]] = []
    with _passing_on(started):
        for k in range(n):
            given = {name: str(value) for name, value in {**shared, "RANK": k}.items()}
            env = os.environ | given | {"LOCAL_RANK": str(k)}
            started.append(subprocess.Popen(command, env=env, start_new_session=True))
        return _watch(started)


def _watch(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all processes; end those that outlive a failed one."""
    failed, since = None, 0.0
    while None in [process.poll() for process in started]:
        if failed is None:
            failed = next((k for k, p in enumerate(started) if p.returncode), None)
            if started[0].returncode == 0:  # the run is complete
                failed = 0
            since = time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            for process in started:
                process.kill()
        time.sleep(0.05)
    first = started[0].returncode
    if first >= 0:
        return first
    k = failed or 0
    code = started[k].returncode
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    raise ChildProcessError(
        f"process {k} of {len(started)} {reason}; what was saved before is kept; repeat the "
        "command to continue"
    )


@contextlib.contextmanager
def _passing_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Pass stop signals on to the processes, which are not in the terminal's group."""

    def send(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, send) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
