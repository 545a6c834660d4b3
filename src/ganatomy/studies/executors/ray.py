"""Jobs on a Ray cluster whose machines share no disk.

A job is an actor with the job's folder in a temporary place. The driver, which is where the study
is, asks each in turn what has changed there, and does the same to its own folder. So what a lost
worker had done is here but for the last INTERVAL, and another one goes on from it. An actor that is
asked, rather than a generator that tells, because generators do not pass through ray://.
"""

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ganatomy.studies.executors.outcome import Failure, J, Outcomes, R, outcome
from ganatomy.studies.executors.sync import Changes, apply, changes

INTERVAL = 1.0
"""Seconds between two looks at a job's folder."""

LIVES = 3
"""Workers that a job may lose, one after the other, without a checkpoint from any of them."""


class _Look(NamedTuple):
    """What a worker says when it is asked."""

    found: Changes
    ended: bool
    came: Any
    """of the job, once it has ended"""


class _Worker:
    """A job on a machine of the cluster; a class, as that is what Ray keeps alive."""

    def __init__(self, function: Callable[[Any], Any], job: Any, held: Changes) -> None:
        self.home, self.there = Path(tempfile.mkdtemp(prefix="ganatomy-")), _folder(job)
        self.folder = self.home / (self.there.name if self.there else "none")
        self.folder.mkdir()
        apply(self.folder, held)
        _, self.sent = changes(self.folder, {})
        here = job if self.there is None else job._replace(folder=self.folder)
        self.outcome = ThreadPoolExecutor(1).submit(outcome, function, here)

    def look(self, seconds: float) -> _Look:
        """Return what has changed in the folder after so long, or at the job's end."""
        wait([self.outcome], timeout=seconds)
        ended = self.outcome.done()  # before looking, so that the last look sees all
        found, self.sent = changes(self.folder, self.sent, ended)
        if not ended:
            return _Look(found, False, None)
        self.leave()
        error = self.outcome.exception()  # such as SystemExit, which would end the worker instead
        came = Failure(_line(error)) if error else self.outcome.result()
        if isinstance(came, Failure):
            came = Failure(came.why.replace(str(self.folder), str(self.there)))
        return _Look(found, True, came)

    def leave(self) -> None:
        """Remove what is on the worker's disk."""
        shutil.rmtree(self.home, ignore_errors=True)


@dataclass(frozen=True)
class _Going:
    """A job that is being carried out."""

    job: Any
    lock: contextlib.ExitStack
    worker: Any
    lives: int


def cluster(function: Callable[[J], R], jobs: Sequence[J], at_once: int) -> Outcomes[J, R]:
    """So many at once on a Ray cluster, $RAY_ADDRESS or one made of this machine's cores.

    A job that has a folder, a named tuple's field as in studies, finds there what is in it here,
    and what it writes there comes here. If its worker is lost, another one goes on from that.

    Raises:
        ValueError: without Ray, or if the cluster cannot be reached.
    """
    left, going = deque(jobs), dict[Any, _Going]()
    with _connected(at_once * max(map(_cores, jobs), default=1)) as ray:
        try:
            while left or going:
                while left and len(going) < at_once:
                    job = left.popleft()
                    try:
                        at = _begin(ray, function, _Going(job, _lock(_folder(job)), None, LIVES))
                        going[at.worker.look.remote(INTERVAL)] = at
                    except Timeout:
                        why = f"{_folder(job)} is being trained by another process"
                        yield job, Failure(why)
                for ref in ray.wait(list(going), num_returns=1)[0] if going else ():
                    at, look = _looked(ray, function, going[ref], ref)
                    del going[ref]
                    if not look.ended:
                        going[at.worker.look.remote(INTERVAL)] = at
                        continue
                    ray.kill(at.worker)
                    at.lock.close()
                    yield at.job, look.came
        finally:
            _end(ray, list(going.values()))


def _begin(ray: Any, function: Callable[[Any], Any], at: _Going) -> _Going:
    """Send a job with what its folder holds, to the first machine that has the cores."""
    folder = _folder(at.job)
    held = changes(folder, {})[0] if folder else Changes({}, ())
    # more cores than any machine has would be waited for for ever
    most = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes()), default=0)
    remote = ray.remote(_Worker).options(num_cpus=min(_cores(at.job), most or 1))
    return dataclasses.replace(at, worker=remote.remote(function, at.job, held))


def _looked(ray: Any, function: Callable[[Any], Any], at: _Going, ref: Any) -> tuple[_Going, _Look]:
    """Do here what a worker has done there; begin anew if it is lost."""
    nothing = Changes({}, ())
    try:
        look: _Look = ray.get(ref)
    except ray.exceptions.RayTaskError as error:  # of looking: attempt tells of the job's own
        return at, _Look(nothing, True, Failure(_line(error.cause)))
    except ray.exceptions.RayError as error:
        ray.kill(at.worker)  # in case that only the way to it is lost
        if at.lives == 1:
            why = f"{LIVES} workers were lost one after the other: {_line(error)}"
            return at, _Look(nothing, True, Failure(why))
        again = dataclasses.replace(at, lives=at.lives - 1)
        return _begin(ray, function, again), _Look(nothing, False, None)
    folder = _folder(at.job)
    if folder and apply(folder, look.found):
        at = dataclasses.replace(at, lives=LIVES)
    return at, look


def _end(ray: Any, going: Sequence[_Going]) -> None:
    """End the jobs that are going on, if the driver leaves before they are done."""
    with contextlib.suppress(Exception):  # a cluster that is gone has nothing to be ended
        leaving = [at.worker.leave.remote() for at in going]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=2 * INTERVAL)
        for at in going:
            ray.kill(at.worker)
    for at in going:
        at.lock.close()


@contextlib.contextmanager
def _connected(cores: int) -> Iterator[Any]:
    """Give Ray, connected as the user wants it."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what is run here
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
        raise ValueError(f"no Ray cluster at {address}: {_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _lock(folder: Path | None) -> contextlib.ExitStack:
    """Hold a folder as its run would, if it were carried out here."""
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
    """Say an error in one line: Ray's first one, or the last if a worker could not even begin."""
    lines = str(error).split("\n")
    told = [line.strip() for line in lines if line.strip()] or [""]
    return f"{type(error).__name__}: {told[-getattr(error, 'actor_init_failed', False)]}"
