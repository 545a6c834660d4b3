"""Jobs on a Ray cluster whose machines share no disk.

Each job is an actor with a temporary copy of the job's folder. The driver, on the machine of the
study, polls each actor for changes and applies them to its own folder. If a worker is lost, another
one continues from that folder, which lacks at most the last INTERVAL. Actors are polled because
generators do not pass through ray://.
"""

import contextlib
import dataclasses
import logging
import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ganatomy.studies.executors.outcome import Failure, J, Outcomes, R, outcome
from ganatomy.studies.executors.sync import Changes, apply, changes

INTERVAL = 1.0
"""Seconds between two polls of a job's folder."""

LIVES = 3
"""Number of workers in a row that a job may lose without a new checkpoint."""


class _Report(NamedTuple):
    """The answer of a worker to a poll."""

    found: Changes
    ended: bool
    came: Any
    """outcome of the job, once it has ended"""


class _Worker:
    """A job on a machine of the cluster: the class of a Ray actor."""

    def __init__(self, function: Callable[[Any], Any], job: Any, held: Changes) -> None:
        self.home, self.there = Path(tempfile.mkdtemp(prefix="ganatomy-")), _folder(job)
        self.folder = self.home / (self.there.name if self.there else "none")
        self.folder.mkdir()
        apply(self.folder, held)
        _, self.sent = changes(self.folder, {})
        here = job if self.there is None else job._replace(folder=self.folder)
        self.outcome = ThreadPoolExecutor(1).submit(outcome, function, here)

    def poll(self, seconds: float) -> _Report:
        """Return the changes in the folder after this time, or at the end of the job."""
        wait([self.outcome], timeout=seconds)
        ended = self.outcome.done()  # first, so that the last report is complete
        found, self.sent = changes(self.folder, self.sent, ended)
        if not ended:
            return _Report(found, False, None)
        self.leave()
        error = self.outcome.exception()  # such as SystemExit, which would end the worker instead
        came = Failure(_line(error)) if error else self.outcome.result()
        if isinstance(came, Failure):
            came = Failure(came.why.replace(str(self.folder), str(self.there)))
        return _Report(found, True, came)

    def leave(self) -> None:
        """Remove the temporary folder."""
        shutil.rmtree(self.home, ignore_errors=True)


@dataclass(frozen=True)
class _Running:
    """A job that runs on a worker."""

    job: Any
    lock: contextlib.ExitStack
    worker: Any
    lives: int
    at_once: int
    """jobs that run at a time"""


def cluster(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """Run at_once jobs at a time on the Ray cluster at $RAY_ADDRESS, or on this machine's cores.

    The folder of a job, if it has a field of this name, is copied to the worker, and changes are
    copied back. If a worker is lost, another one continues from the folder.

    Raises:
        ValueError: without Ray, or if the cluster cannot be reached.
    """
    left, running = deque(jobs), dict[Any, _Running]()
    with _connected(at_once * max(map(_cores, jobs), default=1)) as ray:
        try:
            while left or running:
                while left and len(running) < at_once:
                    job = left.popleft()
                    try:
                        at = _begin(
                            ray, function, _Running(job, _lock(_folder(job)), None, LIVES, at_once)
                        )
                        running[at.worker.poll.remote(INTERVAL)] = at
                    except Timeout:
                        why = f"{_folder(job)} is being trained by another process"
                        yield job, Failure(why)
                for ref in ray.wait(list(running), num_returns=1)[0] if running else ():
                    at, report = _polled(ray, function, running[ref], ref)
                    del running[ref]
                    if not report.ended:
                        running[at.worker.poll.remote(INTERVAL)] = at
                        continue
                    ray.kill(at.worker)
                    at.lock.close()
                    yield at.job, report.came
        finally:
            _end(ray, list(running.values()))


def _begin(ray: Any, function: Callable[[Any], Any], at: _Running) -> _Running:
    """Send a job with the files of its folder to the first machine with enough free cores."""
    folder = _folder(at.job)
    held = changes(folder, {})[0] if folder else Changes({}, ())
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    remote = ray.remote(_Worker).options(**requested(at.job, has, at.at_once))
    return dataclasses.replace(at, worker=remote.remote(function, at.job, held))


def requested(job: Any, machines: Sequence[Mapping[str, float]], at_once: int) -> dict[str, float]:
    """Return the cores and the share of a GPU that a job asks for.

    Jobs on CUDA share the GPUs of the cluster evenly: two GPUs give each of three jobs a half.
    Ray waits for ever for more than any machine has.

    Args:
        job: the job; its options have its threads and device.
        machines: resources of each machine of the cluster, by Ray's names.
        at_once: jobs that run at a time.

    Raises:
        ValueError: for a job on CUDA if no machine has a GPU.
    """
    most = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    cores: dict[str, float] = {"num_cpus": min(_cores(job), most or 1)}
    device = getattr(getattr(job, "options", None), "device", "cpu")
    if device.startswith("cuda") and not gpus:
        raise ValueError("no machine of the Ray cluster has a GPU; use --device cpu")
    if not gpus or not device.startswith(("cuda", "auto")):
        return cores
    return cores | {"num_gpus": 1 / math.ceil(at_once / gpus)}


def _polled(
    ray: Any, function: Callable[[Any], Any], at: _Running, ref: Any
) -> tuple[_Running, _Report]:
    """Apply the changes that a worker reports; start another worker if it is lost."""
    nothing = Changes({}, ())
    try:
        report: _Report = ray.get(ref)
    except ray.exceptions.RayTaskError as error:  # of the poll: outcome catches those of the job
        return at, _Report(nothing, True, Failure(_line(error.cause)))
    except ray.exceptions.RayError as error:
        ray.kill(at.worker)  # in case only the connection is lost
        if at.lives == 1:
            why = f"{LIVES} workers were lost one after the other: {_line(error)}"
            return at, _Report(nothing, True, Failure(why))
        again = dataclasses.replace(at, lives=at.lives - 1)
        return _begin(ray, function, again), _Report(nothing, False, None)
    folder = _folder(at.job)
    if folder and apply(folder, report.found):
        at = dataclasses.replace(at, lives=LIVES)
    return at, report


def _end(ray: Any, running: Sequence[_Running]) -> None:
    """End the jobs that still run when the driver stops."""
    with contextlib.suppress(Exception):  # on a cluster that is gone nothing runs
        leaving = [at.worker.leave.remote() for at in running]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=2 * INTERVAL)
        for at in running:
            ray.kill(at.worker)
    for at in running:
        at.lock.close()


@contextlib.contextmanager
def _connected(cores: int) -> Iterator[Any]:
    """Yield the ray module, connected to $RAY_ADDRESS or to a local cluster of these cores."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
        import ray
    except ImportError as error:
        raise ValueError(
            "the executor ray needs Ray; run: pip install 'ganatomy[cluster]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    local = address == "local"
    try:
        ray.init(
            address=address,
            num_cpus=cores if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # of many kinds
        with contextlib.suppress(Exception):
            ray.shutdown()  # a connection that is half made would fail the next one
        raise ValueError(f"no Ray cluster at {address}: {_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _lock(folder: Path | None) -> contextlib.ExitStack:
    """Lock a folder as a run on this machine would."""
    with contextlib.ExitStack() as stack:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / ".lock", timeout=0))
        return stack.pop_all()


def _folder(job: Any) -> Path | None:
    return getattr(job, "folder", None)


def _cores(job: Any) -> int:
    return getattr(getattr(job, "options", None), "threads", None) or 1


def _line(error: BaseException) -> str:
    """Return an error in one line: Ray's first line, or the last if a worker could not start."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[-getattr(error, 'actor_init_failed', False)]}"
