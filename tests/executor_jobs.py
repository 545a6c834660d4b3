"""Jobs for tests of executors, in a module of their own that workers can import."""

import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from ganatomy.storage.files import write_atomic


class ExecutorJob(NamedTuple):
    """A job with a folder that is not a run."""

    folder: Path


def fails_once(file: Path) -> str:
    if file.exists():
        return "done"
    file.touch()
    raise OSError("no luck")


def fails_or_not(job: int) -> int:
    if job == 2:
        raise RuntimeError("always")
    if job == 3:
        raise ValueError("use another")
    return job


def dies(job: object) -> None:
    os._exit(3)


def does_as_it_is_called(job: ExecutorJob) -> Any:
    match job.folder.name:
        case "dies":
            dies(job)
        case "gets on":  # loses a worker after each checkpoint
            found = len(list(job.folder.glob("*.pt")))
            if found == 2:
                return found
            (job.folder / f"step-{found}.pt").touch()
            time.sleep(1.5)
            dies(job)
        case "is bad":
            raise ValueError(f"{job.folder} is bad")
        case "leaves":
            raise SystemExit("left")
        case "cannot be sent":
            return threading.Lock()
        case "tells and waits":
            write_atomic(job.folder / "pid", str(os.getpid()).encode())
            time.sleep(600)
        case "waits":
            (job.folder / "home").write_text(str(job.folder.parent))
            time.sleep(600)
