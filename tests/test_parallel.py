"""One training in several processes equals one in a single process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from conftest import CONV, MLP, PENALIZED, Call, in_doubles
from torch import nn
from torch.multiprocessing.spawn import spawn

from ganatomy.data import DATASETS
from ganatomy.gan import captured, launch, parallel, step
from ganatomy.gan.parallel import processes
from ganatomy.gan.share import Share, SharedBatchNorm
from ganatomy.gan.state import State
from ganatomy.recipes.recipe import Recipe
from ganatomy.runs.folder import Run

BATCH = 8  # of which three processes take 2, 3 and 3
SMALL: dict[str, Any] = {"batch": BATCH, "steps": 6, "d_steps": 1, "g_steps": 1}
RECIPES = {
    "mlp, batch norm, dropout": MLP.replace(**SMALL),
    "dcgan, batch norm, dropout": CONV.replace(**SMALL, d_norm="batch_all", same_fakes=True),
    "all penalties, spectral norm": PENALIZED.replace(**SMALL, d_dropout=0.0, g_dropout=0.0),
    "wgan-gp": MLP.replace(**SMALL, d_norm="none", loss="wasserstein", gp=10.0, d_dropout=0.0)
    .replace(real_label=(1.0, 1.0), fake_label=(0.0, 0.0), penalty_every=2, d_steps=2),
    "pairs": MLP.replace(**SMALL, d_norm="none", loss="relativistic", spectral="d")
    .replace(real_label=(1.0, 1.0), fake_label=(0.0, 0.0)),
    "one pass": MLP.replace(**SMALL, d_norm="none", d_dropout=0.0, g_norm="none"),
}  # fmt: skip
Result = tuple[dict[str, Any], list[dict[str, float]]]


def trained(recipe: Recipe, share: Share, take: Callable[..., Any]) -> Result:
    """State and logs of a training in float64."""
    data = DATASETS["mnist10k"].load(Path())
    state = State.new(recipe, data.shape)
    for net in (state.generator, state.discriminator, state.ema):
        net.double()
    state.join(share)
    logs = [{k: v.item() for k, v in row.items()} for row in take(state, recipe, data)]
    return state.state_dict(), logs


def all_trained(share: Share) -> dict[str, Result]:
    with pytest.MonkeyPatch.context() as patch:
        in_doubles(patch)
        rand = torch.rand
        patch.setattr(torch, "rand", lambda *size, **how: rand(*size, **how).double())
        return {name: trained(recipe, share, step.steps) for name, recipe in RECIPES.items()}


def worker(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    share = Share(rank, size, BATCH)
    torch.save(all_trained(share), folder / f"{rank}.pt")
    recipe = RECIPES["wgan-gp"].replace(g_dropout=0.0)  # on a CPU, masks need its generator
    bits = [torch.stack(flat(recipe, share, take)) for take in (step.steps, captured.steps)]
    assert torch.equal(*bits)
    stopped = [int(signal.SIGTERM)] if rank == size - 1 else []
    assert share.stop([]) == 0 and share.stop(stopped) == signal.SIGTERM
    with (
        pytest.raises(ValueError if rank == 0 else ConnectionError, match="no data"),
        together(share),
    ):
        raise ValueError("no data")
    with pytest.raises(ConnectionError, match="out of memory"), together(share):
        if rank == size - 1:
            raise MemoryError("out of memory")
    dist.destroy_process_group()


def together(share: Share) -> contextlib.AbstractContextManager[None]:
    return share.together()


def flat(recipe: Recipe, share: Share, take: Callable[..., Any]) -> list[torch.Tensor]:
    """Sums of all weights after a training in float32."""
    data = DATASETS["mnist10k"].load(Path())
    state = State.new(recipe, data.shape)
    state.join(share)
    for _ in take(state, recipe, data):
        pass
    return [weight.detach().sum() for weight in state.generator.parameters()]


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_n_processes_equal_one(size: int, tmp_path: Path) -> None:
    spawn(worker, (size, tmp_path), nprocs=size)
    expected = all_trained(Share())
    for rank in range(size):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


NORMS: dict[str, Callable[[], nn.Module]] = {
    "images": lambda: nn.BatchNorm2d(3),
    "points": lambda: nn.BatchNorm1d(3),
    "volumes": lambda: nn.BatchNorm3d(3),
    "no weights": lambda: nn.BatchNorm2d(3, affine=False),
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "not tracked": lambda: nn.BatchNorm2d(3, track_running_stats=False),
}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", NORMS)
def test_shared_batch_norm_is_batch_norm(name: str) -> None:
    own, shared = (NORMS[name]() for _ in range(2))
    Share(0, 2, 8).adapt(shared)
    assert isinstance(shared, SharedBatchNorm)
    shape = (4, 3, *[2] * {"points": 0, "volumes": 3}.get(name, 2))
    for _ in range(3):
        x = torch.randn(shape) * 2 + 5
        grads = []
        for net in (own, shared):
            at = x.clone().requires_grad_()
            out = net(at)
            (grad,) = torch.autograd.grad(out.pow(3).sum(), at, create_graph=True)
            (twice,) = torch.autograd.grad(grad.square().sum(), at)
            grads.append([out, grad, twice])
        torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.state_dict(), own.state_dict())
    torch.testing.assert_close(shared.eval()(x), own.eval()(x))


def test_masks_are_those_of_the_whole_batch() -> None:
    whole = torch.randn(8, 4, 3, 3)
    for make in (nn.Dropout, nn.Dropout2d, nn.AlphaDropout):
        expected = make(0.5)
        torch.manual_seed(1)
        found = expected(whole)
        for rank in range(3):
            share, net = Share(rank, 3, 8), nn.Sequential(make(0.5))
            share.adapt(net)
            torch.manual_seed(1)
            assert torch.equal(net(whole[share.rows]), found[share.rows])
            assert torch.equal(net.eval()(whole[:5]), whole[:5])


def test_shares_cover_the_batch() -> None:
    for size in (1, 2, 3, 8):
        shares = [Share(rank, size, 8) for rank in range(size)]
        assert [i for s in shares for i in range(8)[s.rows]] == list(range(8))
        assert sum(share.part for share in shares) == pytest.approx(1)


ENVIRONMENT = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look like the first of two processes that torchrun started."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("two")
def test_what_several_processes_cannot_train(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    with pytest.raises(ValueError, match="batch of at least 2 samples for 2 processes, got 1"):
        processes(1, "cpu").__enter__()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(ValueError, match="at most 1 processes for the 1 cores"):
        processes(8, "cpu").__enter__()
    monkeypatch.setattr(parallel, "pick_device", torch.device)
    with pytest.raises(ValueError, match="for several processes, got mps"):
        processes(8, "mps").__enter__()
    with pytest.raises(ValueError, match="for several processes, got cuda:1"):
        processes(8, "cuda:1").__enter__()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda local: None)
    with pytest.raises(ValueError, match="1 CUDA devices of this machine, got 2; use --devices 1"):
        processes(8, "cuda").__enter__()
    code, _, err = call("recipes")
    assert code == 2 and "2 processes were started together" in err
    code, _, err = call("train", "basic-gan", "--devices", 3)
    assert code == 2 and "--devices is 3; leave it out" in err


def test_cards_of_several_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(names: list[str], own: str) -> None:
        names[:] = [own, "another card"]

    monkeypatch.setattr(dist, "all_gather_object", gather)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    with pytest.raises(ValueError, match="of one kind, got a card and another card; choose with"):
        parallel._check_cards(Share(0, 2, 8, torch.device("cuda", 0)))


def test_devices_is_a_number_of_processes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = call("train", "basic-gan", "--devices", 0)
    assert code == 2 and "expected --devices of 1 or more, got 0" in err
    monkeypatch.setattr(launch, "launch", lambda n, arguments: 10 + n)
    assert call("train", "basic-gan", "--devices", 2)[0] == 12
    assert call("train", "basic-gan", "--dataset", "mnist10k", "--devices", 2, "--dry_run")[0] == 0


def test_processes_that_outlive_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PATIENCE", 0.1)

    def watched(*scripts: str) -> int:
        started = [subprocess.Popen(["sh", "-c", script]) for script in scripts]
        try:
            return launch._watch(started)
        finally:
            assert all(process.returncode is not None for process in started)

    assert watched("exit 2", "exec sleep 60") == 2
    assert watched("exit 0", "exec sleep 60") == 0
    assert watched("exit 0", "exit 1") == 0
    with pytest.raises(ChildProcessError, match="process 1 of 2 was killed by signal 9; what was"):
        watched("exec sleep 60", "kill -9 $$")
    with pytest.raises(ChildProcessError, match="process 0 of 2 was killed by signal 15"):
        watched("kill -15 $$", "exec sleep 60")
    with pytest.raises(ChildProcessError, match="process 1 of 2 ended with exit code 1"):
        watched("exec sleep 60", "exit 1")


TRAIN = ["train", "basic-gan", "--dataset", "mnist10k", "--g_widths", "8", "--d_widths", "8"]
TRAIN += ["--batch", "5", "--steps", "100000", "--save_every", "20", "--log_every", "10"]
TRAIN += ["--device", "cpu", "--sample_every", "100000", "--quiet"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A training by the command in two processes, with a checkpoint."""
    command = [sys.executable, "-m", "ganatomy", *TRAIN, "--out", str(tmp_path / "run")]
    with subprocess.Popen([*command, "--devices", "2"], stderr=subprocess.PIPE, text=True) as main:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("run/step-*.pt")):
            assert time.monotonic() < end and main.poll() is None
            time.sleep(0.1)
        yield main
        main.kill()


@pytest.mark.slow
def test_a_stop_signal_is_obeyed_by_all(started: subprocess.Popen[str], tmp_path: Path) -> None:
    started.send_signal(signal.SIGTERM)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 128 + signal.SIGTERM
    assert errors.count("\n") == 1 and "stopped and saved" in errors
    run = Run.open(tmp_path / "run")
    assert run.sessions[-1]["processes"] == 2
    saved = run.load(run.checkpoint())
    step = saved["step"]
    assert step > 20 or step % 20
    assert [row["step"] for row in run.rows("log")] == list(range(10, step + 1, 10))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["-m", "ganatomy", "resume", str(run.path), "--steps", str(step + 5)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run.path}: complete at step {step + 5:,}\n"
    alone = [sys.executable, "-m", "ganatomy", "resume", str(run.path), "--steps", str(step + 9)]
    done = subprocess.run(alone, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "processes" in done.stderr


def test_a_killed_process_ends_the_others(started: subprocess.Popen[str], tmp_path: Path) -> None:
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 1
    assert errors.count("\n") == 1 and "another process of this training has ended" in errors
    run = Run.open(tmp_path / "run")
    assert run.load(run.checkpoint())["step"] >= 20
    assert not any(Path(f"/proc/{child}").exists() for child in children)
