"""Studies on a Ray cluster: the same bits, and a lost worker costs its last steps only."""

import dataclasses
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import pytest
from executor_jobs import ExecutorJob, does_as_it_is_called
from filelock import FileLock
from test_study import TINY, train

from ganatomy.recipes.recipe import RunOptions
from ganatomy.runs.folder import Run
from ganatomy.studies.executors import ray as clusters
from ganatomy.studies.executors.local import EXECUTORS, Executor
from ganatomy.studies.executors.outcome import Failure
from ganatomy.studies.executors.ray import cluster, requested
from ganatomy.studies.job import Job
from ganatomy.studies.trainings import run_training, trainings
from ganatomy.studies.verdict import verdicts

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = pytest.mark.usefixtures("ray_of_the_tests")


def head_and(cores: int, port: int | None = None) -> tuple["Cluster", Any]:
    """Start a head without cores, and a node with this many."""
    from ray.cluster_utils import Cluster  # reads the secret as it is imported

    head = {"num_cpus": 0, "ray_client_server_port": port, "include_dashboard": False}
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # logs left open
        nodes = Cluster(initialize_head=True, head_node_args=head)
        return nodes, nodes.add_node(num_cpus=cores)


@pytest.fixture(scope="module")
def port() -> int:
    """Return a free port, for ray://."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def nodes(ray_of_the_tests: None, port: int) -> Iterator["Cluster"]:
    """A cluster of two nodes, one of them with cores."""
    found, _ = head_and(2, port)
    yield found
    found.shutdown()


def of_a_run(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that do not depend on time and machine."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in ("environment.json", ".lock", "options.json")
        and not file.name.startswith("events")
    }


@pytest.mark.slow
def test_serial_processes_and_ray_give_the_same(
    nodes: "Cluster", port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{port}")
    two = dataclasses.replace(TINY, seeds=2)
    names: tuple[Executor, ...] = get_args(Executor)
    assert names == tuple(EXECUTORS)
    done = {name: train(two, tmp_path / name, 2, name) for name in names}
    for jobs in zip(*done.values(), strict=True):
        first, *others = [of_a_run(job.folder) for job in jobs]
        assert "step-00000006.pt" in first and "log.jsonl" in first
        assert all(other == first for other in others)
    results = [verdicts(two, jobs, 1.0) for jobs in done.values()]
    assert all(result == results[0] for result in results)


@pytest.mark.slow
def test_a_lost_node_costs_its_last_steps_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TINY.recipe("a", 0, 1.0).replace(steps=400)
    options = RunOptions(device="cpu", threads=1, save_every=20, log_every=20, sample_every=100)
    job = Job("a", 0, recipe, tmp_path / "ray" / "run", options, "classifier-2k", ("fd",))
    monkeypatch.setattr(clusters, "INTERVAL", 0.1)
    nodes, first = head_and(1)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)

    polled, lost = clusters._polled, list[str]()

    def then_lose_it(*given: Any) -> Any:
        found = polled(*given)
        if not lost and list(job.folder.glob("step-*.pt")):
            lost.extend(file.name for file in job.folder.glob("step-*.pt"))
            nodes.remove_node(first, allow_graceful=False)
            nodes.add_node(num_cpus=1)
        return found

    monkeypatch.setattr(clusters, "_polled", then_lose_it)
    ((_, came),) = cluster(run_training, trainings([job]), 1)
    nodes.shutdown()

    sessions = Run.open(job.folder).sessions
    assert len(sessions) == 2 and sessions[1]["to_step"] == recipe.training.steps
    assert 0 < int(lost[0][5:-3]) <= sessions[1]["from_step"] < recipe.training.steps
    alone = job._replace(folder=tmp_path / "serial" / "run")
    assert run_training(trainings([alone])[0]) == came
    assert of_a_run(job.folder) == of_a_run(alone.folder)


@pytest.mark.slow
def test_outcomes_of_jobs_without_a_result(
    nodes: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setattr(clusters, "INTERVAL", 0.1)
    monkeypatch.setattr(clusters, "LIVES", 2)
    names = ("in use", "dies", "gets on", "is bad", "leaves", "cannot be sent")
    (tmp_path / "in use").mkdir()
    with FileLock(tmp_path / "in use" / ".lock"):
        jobs = [ExecutorJob(tmp_path / name) for name in names]
        came: dict[str, Any] = {
            job.folder.name: result for job, result in cluster(does_as_it_is_called, jobs, 2)
        }
    assert came.keys() == set(names)
    assert came["in use"] == Failure(f"{tmp_path / 'in use'} is being trained by another process")
    assert "2 workers were lost one after the other: ActorDiedError" in came["dies"].why
    assert came["gets on"] == 2  # with as many deaths, but a checkpoint after each
    assert came["is bad"] == Failure(f"{tmp_path / 'is bad'} is bad")
    assert came["leaves"] == Failure("SystemExit: left")
    assert came["cannot be sent"].why.startswith("TypeError: ")


@pytest.mark.slow
def test_an_interrupt_ends_all_at_once(
    nodes: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    job = ExecutorJob(tmp_path / "waits")

    def interrupt() -> None:
        while not (job.folder / "home").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(cluster(does_as_it_is_called, [job, ExecutorJob(tmp_path / "b")], 1))
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert not Path((job.folder / "home").read_text()).exists()
    with FileLock(job.folder / ".lock", timeout=0):
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("device", "gpus", "at_once", "share"),
    [
        ("cuda", (2, 1), 3, 1.0),
        ("auto", (2, 0), 3, 0.5),
        ("cuda", (1,), 8, 0.125),
        ("cpu", (2,), 3, None),
        ("auto", (0, 0), 3, None),
    ],
)
def test_jobs_ask_for_their_share_of_the_gpus(
    device: str, gpus: tuple[int, ...], at_once: int, share: float | None
) -> None:
    job = Training(Path("x"), RunOptions(device=device, threads=9))
    machines = [{"CPU": 4.0} | ({"GPU": float(n)} if n else {}) for n in gpus]
    expected = {"num_cpus": 4} | ({} if share is None else {"num_gpus": share})
    assert requested(job, machines, at_once) == expected


def test_jobs_on_cuda_are_refused_by_a_cluster_without_a_gpu() -> None:
    with pytest.raises(ValueError, match="no machine of the Ray cluster has a GPU; use --device"):
        requested(Training(Path("x"), RunOptions(device="cuda")), [{"CPU": 4.0}], 1)


@pytest.mark.slow
def test_ray_gives_each_job_its_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False}  # Ray does not look for it
    nodes = Cluster(initialize_head=True, head_node_args=head)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    jobs = [Training(None, RunOptions(device="cuda", threads=n)) for n in (1, 2)]
    came = dict(cluster(says_its_gpus, jobs, 2))
    nodes.shutdown()
    assert list(came.values()) == [[0], [0]]


class Training(NamedTuple):
    """A job with a folder and options."""

    folder: Path | None
    options: RunOptions


def says_its_gpus(job: Training) -> Any:
    import ray

    return ray.get_gpu_ids()


def test_a_missing_package_or_cluster_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(address: str, **how: object) -> None:
        raise ConnectionError(f"tried {address}\nfor long")

    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1")
    monkeypatch.setattr("ray.init", nowhere)
    with pytest.raises(ValueError, match=r"no Ray cluster at nowhere:1: .*tried nowhere:1$"):
        list(cluster(does_as_it_is_called, [ExecutorJob(Path("x"))], 1))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs Ray; run: pip install 'ganatomy\[cluster\]'"):
        list(cluster(does_as_it_is_called, [ExecutorJob(Path("x"))], 1))
