"""Runs that are killed, stopped or gone wrong: nothing is lost and nothing differs."""

import collections
import contextlib
import dataclasses
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import CONV, MLP
from torch import Tensor

from ganatomy.gan.losses import LOSSES, Labels
from ganatomy.gan.machine import environment, numerics, pick_device
from ganatomy.gan.state import State
from ganatomy.gan.step import Logs, steps
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.folder import Run
from ganatomy.storage.checksums import DamagedError
from ganatomy.training import loop
from ganatomy.training import session as sessions
from ganatomy.training.loop import fit, run_steps
from ganatomy.validation import to_dict

OPTIONS = RunOptions(log_every=2, save_every=5, sample_every=5, threads=1, device="cpu")


def contents(run: Run) -> dict[str, bytes]:
    """What must not depend on how often a run was stopped, to the byte."""
    files = [*run.checkpoints(), *(path for _, path in run.grids()), run.path / "log.jsonl"]
    return {file.name: file.read_bytes() for file in files}


def abandon(recipe: Recipe, folder: Path, after: int) -> None:
    """Train for some steps and then leave without a word."""
    with contextlib.closing(run_steps(recipe, folder, OPTIONS)) as running:
        for _ in itertools.islice(running, after + 1):
            pass


@pytest.fixture(autouse=True)
def no_board(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Leave TensorBoard out, which is slow to import, of the tests that do not look at it."""
    if "board" not in request.keywords:
        monkeypatch.setattr(sessions, "_board", _NoBoard)


class _NoBoard:
    def __init__(self, run: Run, step: int) -> None: ...
    def __enter__(self) -> "_NoBoard":
        return self

    def __exit__(self, *error: object) -> None: ...
    def add_scalar(self, tag: str, value: float, step: int) -> None: ...


def test_a_run_folder_holds_what_it_should(recipe: Recipe, tmp_path: Path) -> None:
    run = fit(recipe, tmp_path / "run", OPTIONS)
    assert [row["step"] for row in run.rows("log")] == [2, 4, 6, 8, 10, 12, 14]
    fields = {"step", "epoch", "d_loss", "g_loss", "d_loss_real", "d_loss_fake"}
    fields |= {"d_real", "d_fake", "d_fake_after", "g_grad"}
    assert all(row.keys() == fields for row in run.rows("log"))
    assert [step for step, _ in run.grids()] == [0, 5, 10, 14]
    assert [p.name for p in run.checkpoints()] == [f"step-{s:08d}.pt" for s in (5, 10, 14)]
    assert run.recipe == recipe and run.options == OPTIONS
    (session,) = run.sessions
    assert session["from_step"] == 0 and session["to_step"] == 14 and session["threads"] == 1
    assert "ganatomy resume run" in (run.path / "README.md").read_text()
    assert run.load(run.checkpoints()[-1])["step"] == 14


def test_a_finished_run_costs_nothing_the_second_time(tmp_path: Path) -> None:
    before = contents(fit(MLP, tmp_path / "run", OPTIONS))
    (tick,) = run_steps(MLP, tmp_path / "run", OPTIONS)
    assert tick.step == tick.total and len(Run(tmp_path / "run").sessions) == 1
    assert contents(Run(tmp_path / "run")) == before


@pytest.mark.parametrize("stop", [1, 5, 7, 13])
def test_an_abandoned_run_goes_on_exactly(recipe: Recipe, tmp_path: Path, stop: int) -> None:
    whole = fit(recipe, tmp_path / "whole", OPTIONS)
    abandon(recipe, tmp_path / "cut", stop)
    assert contents(fit(recipe, tmp_path / "cut", OPTIONS)) == contents(whole)


def test_a_longer_run_is_the_run_that_was_longer(recipe: Recipe, tmp_path: Path) -> None:
    whole = fit(recipe, tmp_path / "whole", OPTIONS)
    fit(recipe.replace(steps=10), tmp_path / "short", OPTIONS)
    for _ in run_steps(recipe, tmp_path / "short", OPTIONS, longer=True):
        pass
    assert contents(Run(tmp_path / "short")) == contents(whole)
    assert Run(tmp_path / "short").recipe == recipe
    with pytest.raises(ValueError, match="is at step 14, which is past the 3 requested"):
        next(run_steps(recipe.replace(steps=3), tmp_path / "short", OPTIONS, longer=True))
    assert Run(tmp_path / "short").recipe == recipe


SCRIPT = """
import sys
from pathlib import Path
from ganatomy.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def start(recipe_file: Path, out: Path) -> "subprocess.Popen[bytes]":
    arguments = ["train", str(recipe_file), "--out", str(out), "--threads", "1", "--device", "cpu"]
    every = ["--log_every", "2", "--save_every", "5", "--sample_every", "5", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments, *every],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(path: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline, f"no {pattern} came"
        time.sleep(0.005)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(MLP.replace(steps=300), id="mlp"),
        pytest.param(CONV.replace(steps=100), id="dcgan", marks=pytest.mark.slow),
    ],
)
def test_kill_and_resume_give_the_same_bytes(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(to_dict(recipe)))
    whole = fit(recipe, tmp_path / "whole", OPTIONS)
    process = start(file, tmp_path / "cut")
    wait_for(tmp_path / "cut", "step-*.pt", process)
    time.sleep(random.uniform(0, 0.3))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert contents(fit(recipe, tmp_path / "cut", OPTIONS)) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_survive_five_kills(name: str, tmp_path: Path) -> None:
    """Killed at random moments of one run, each time by the system, a recipe as users train it."""
    recipe = RECIPES[name].recipe.replace(dataset="mnist10k", steps=150)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(to_dict(recipe)))
    begun = time.monotonic()
    start(file, tmp_path / "whole").communicate()
    whole, seconds = Run(tmp_path / "whole"), time.monotonic() - begun
    moments = []
    for _ in range(5):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        process = start(file, tmp_path / "cut")
        wait_for(tmp_path / "cut", "samples/step-00000000.png", process)
        time.sleep(random.uniform(0, max(0.1, seconds - 5)))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        rows = Run(tmp_path / "cut").rows("log")
        moments.append(rows[-1]["step"] if rows else 0)
        start(file, tmp_path / "cut").communicate()
        assert contents(Run(tmp_path / "cut")) == contents(whole)
    print(f"{name}: killed after steps {moments} of 150, each time the same bytes in the end")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_saves_and_ends(number: int, code: int, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(to_dict(MLP.replace(steps=100_000))))
    process = start(file, tmp_path / "run")
    wait_for(tmp_path / "run", "step-*.pt", process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.decode().splitlines() == [
        f"ganatomy: stopped and saved; continue with: ganatomy resume {tmp_path / 'run'}"
    ]
    run = Run(tmp_path / "run")
    assert run.load(run.checkpoints()[-1])["step"] == run.sessions[-1]["to_step"] > 0


def test_nan_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    good = LOSSES["non_saturating"]

    def turns_bad(real: Tensor, fake: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        on_real, on_fake = good.d(real, fake, labels)
        return on_real * (math.nan if next(calls) >= 2 * 7 else 1.0), on_fake

    monkeypatch.setitem(LOSSES, "non_saturating", dataclasses.replace(good, d=turns_bad))
    seldom = dataclasses.replace(OPTIONS, log_every=10)  # each step is watched, logged or not
    with pytest.raises(
        FloatingPointError,
        match=r"d_loss \(nan\).*step 8; step-00000005\.pt.*resume .*run --from 5 --lr_d 1e-4",
    ):
        fit(MLP, tmp_path / "run", seldom)
    run = Run(tmp_path / "run")
    (file,) = run.checkpoints()
    saved = run.load(file)
    assert saved["step"] == 5
    assert all(t.isfinite().all() for t in saved["generator"].values())
    (session,) = run.sessions
    assert "d_loss (nan)" in session["failure"]
    evidence = {d["name"]: d["evidence"] for d in session["diagnoses"]}
    assert evidence["divergence"] == session["failure"]


def test_an_infinite_weight_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(state: State, *given: Any) -> Iterator[Logs]:
        for logs in steps(state, *given):
            if state.step == 10:
                next(state.generator.parameters()).data.fill_(math.inf)
            yield logs

    monkeypatch.setattr("ganatomy.gan.step.steps", poisoned)
    with pytest.raises(FloatingPointError, match=r"a weight is not finite at step 10"):
        fit(MLP, tmp_path / "run", OPTIONS)
    assert [p.name for p in Run(tmp_path / "run").checkpoints()] == ["step-00000005.pt"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run = fit(MLP, tmp_path / "run", OPTIONS)
    other = fit(MLP.replace(g_widths=(8, 8)), tmp_path / "other", OPTIONS)
    run.checkpoints()[-1].write_bytes(other.checkpoints()[-1].read_bytes())
    with pytest.raises(DamagedError, match="does not fit the recipe"):
        fit(MLP, tmp_path / "run", OPTIONS)


def test_measuring_by_hand_leaves_checkpoints_as_they_are(tmp_path: Path) -> None:
    whole = fit(MLP, tmp_path / "whole", OPTIONS)
    abandon(MLP, tmp_path / "run", 12)
    for step in (5, 10):
        Run(tmp_path / "run").append("metrics", {"step": step, "values": {}})
    assert contents(fit(MLP, tmp_path / "run", OPTIONS)) == contents(whole)


@pytest.mark.parametrize("name", ["log", "metrics"])
def test_rows_that_training_wrote_are_missed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(_: Any, step: int, __: Any) -> Any:
        return SimpleNamespace(to_dict=lambda: {"step": step, "values": {}})

    monkeypatch.setattr(sessions, "measure", measure)
    options = dataclasses.replace(OPTIONS, eval_every=4, eval_protocol="classifier-2k")
    run = fit(MLP.replace(steps=10), tmp_path / "run", options)
    assert [row["step"] for row in run.rows("metrics")] == [4, 8, 10]
    file = run.path / f"{name}.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    seldom = dataclasses.replace(options, eval_every=9)
    with pytest.raises(DamagedError, match=rf"{name}\.jsonl has \d of the \d rows"):
        next(run_steps(MLP, run.path, seldom, longer=True))


def test_a_run_without_its_images_goes_on(tmp_path: Path) -> None:
    run = fit(MLP.replace(steps=5), tmp_path / "run", OPTIONS)
    shutil.rmtree(run.path / "samples")
    next(itertools.islice(run_steps(MLP, run.path, OPTIONS, longer=True), 1, None))
    assert "now at step 5" in (run.path / "README.md").read_text()


def test_a_changed_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(MLP.replace(steps=5), tmp_path / "run", OPTIONS)
    monkeypatch.setattr(sessions, "environment", lambda: environment() | {"torch": "0.0"})
    with pytest.warns(UserWarning, match="torch changed since this run was last trained"):
        next(itertools.islice(run_steps(MLP, tmp_path / "run", OPTIONS, longer=True), 1, None))


def test_bf16_is_recorded_resumed_exactly_and_told_when_left(tmp_path: Path) -> None:
    half = dataclasses.replace(OPTIONS, precision="bf16")
    recipe = MLP.replace(d_norm="none", r1=1.0, penalty_every=4)
    whole = contents(fit(recipe, tmp_path / "whole", half))
    run = fit(recipe.replace(steps=5), tmp_path / "run", half)
    assert run.options.precision == "bf16" and run.sessions[-1]["precision"] == "bf16"
    collections.deque(run_steps(recipe, run.path, half, longer=True), 0)
    assert contents(run) == whole != contents(fit(recipe, tmp_path / "full", OPTIONS))
    with pytest.warns(UserWarning, match="precision changed since"):
        collections.deque(run_steps(recipe.replace(steps=15), run.path, OPTIONS, longer=True), 0)


def test_a_run_from_before_there_was_a_precision_is_fp32(tmp_path: Path) -> None:
    run = fit(MLP.replace(steps=5), tmp_path / "run", OPTIONS)
    (session,) = run.sessions
    del session["precision"]
    (run.path / "environment.json").write_text(json.dumps([session]))
    next(itertools.islice(run_steps(MLP, run.path, OPTIONS, longer=True), 1, None))  # no warning


def test_bf16_that_is_slow_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "native_bf16", lambda device: False)
    half = dataclasses.replace(OPTIONS, precision="bf16")
    with pytest.warns(UserWarning, match="this cpu has no native bf16; --precision fp32"):
        next(run_steps(MLP, tmp_path / "run", half))


@pytest.mark.board
def test_tensorboard_has_the_rows(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    abandon(MLP, tmp_path / "run", 9)
    time.sleep(1.1)  # TensorBoard orders a folder's files by the second in their names
    run = fit(MLP, tmp_path / "run", OPTIONS)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    tags = {field: tag for field, tag in sessions.TAGS.items() if field != "d_penalty"}
    assert set(events.Tags()["scalars"]) == {*tags.values()}
    assert {"Loss/real_discriminator", "Loss/fake_discriminator"} < {*tags.values()}  # R4.5's
    for field, tag in tags.items():
        shown = [(e.step, pytest.approx(e.value, rel=1e-6)) for e in events.Scalars(tag)]
        assert [(row["step"], row[field]) for row in run.rows("log")] == shown


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    for wrong in ("gpu", "cuda:99", "cpu:x", ""):
        with pytest.raises(ValueError, match="is not available; use auto or cpu"):
            pick_device(wrong)


def test_tf32_is_for_cuda(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, precision="tf32")
    with pytest.raises(ValueError, match="tf32 needs a CUDA device, got cpu; use fp32 or bf16"):
        fit(MLP, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


def test_numerics_of_cuda_are_set_and_restored() -> None:
    cuda = torch.device("cuda")
    cudnn: Any = torch.backends.cudnn
    products: tuple[Any, Any] = (torch.backends.cuda.matmul, cudnn.conv)

    def now() -> tuple[Any, ...]:
        return (*(p.fp32_precision for p in products), torch.are_deterministic_algorithms_enabled())

    before = now()
    with numerics(cuda):
        assert now() == ("ieee", "ieee", True)
        with numerics(cuda, "tf32", fast=True):
            assert now() == ("tf32", "tf32", False)
        with numerics(torch.device("cpu")):
            assert now() == ("ieee", "ieee", True)
        assert now() == ("ieee", "ieee", True)
    assert now() == before


def test_a_latched_step_is_named_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = State.new

    def latching(*how: Any) -> State:
        state = new(*how)
        state.nonfinite = torch.full((4,), -1.0, dtype=torch.float64)
        return state

    monkeypatch.setattr(State, "new", latching)
    options = dataclasses.replace(OPTIONS, log_every=4, save_every=4, sample_every=100)
    running = run_steps(MLP, tmp_path / "run", options)
    with pytest.raises(FloatingPointError, match=r"(d_loss|g_loss|g_grad) \(nan\).* at step 6; "):
        for info in running:
            if info.step == 5:  # the sixth step fails, the eighth is read
                weights = fitting_state(running).generator.parameters()
                next(weights).data.fill_(math.nan)
    run = Run.open(tmp_path / "run")
    assert [row["step"] for row in run.rows("log")] == [4]
    assert [path.stem for path in run.checkpoints()] == ["step-00000004"]


def fitting_state(running: Any) -> State:
    """The state that a suspended training works on."""
    return running.gi_frame.f_locals["state"]


@pytest.mark.gpu
@pytest.mark.parametrize("fast", [False, True])
def test_a_resumed_run_on_cuda_is_the_run_that_never_stopped(tmp_path: Path, fast: bool) -> None:
    options = dataclasses.replace(OPTIONS, device="cuda", fast=fast)
    recipe = CONV.replace(steps=200)
    whole = fit(recipe, tmp_path / "whole", options)
    with contextlib.closing(run_steps(recipe, tmp_path / "parts", options)) as running:
        for _ in itertools.islice(running, 74):
            pass
    parts = fit(recipe, tmp_path / "parts", options)
    assert fast or contents(parts) == contents(whole)
    assert [run.rows("log")[-1]["step"] for run in (parts, whole)] == [200, 200]


@pytest.mark.gpu
def test_a_run_on_cuda_stops_at_its_first_step_that_is_not_finite(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, device="cuda", log_every=50, save_every=50)
    recipe = MLP.replace(steps=2000, opt_g="sgd", opt_d="sgd", lr_g=10.0, lr_d=10.0)
    recipe = recipe.replace(loss="least_squares", d_norm="none", g_norm="none")
    found = []
    for device in ("cpu", "cuda"):
        with pytest.raises(FloatingPointError) as error:
            fit(recipe, tmp_path / device, dataclasses.replace(options, device=device))
        found.append(int(str(error.value).partition("at step ")[2].partition(";")[0].split(",")[0]))
    assert found[0] == found[1]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_other_precisions_on_cuda(tmp_path: Path, precision: Any) -> None:
    options = dataclasses.replace(OPTIONS, device="cuda", precision=precision)
    rows = fit(CONV.replace(steps=20), tmp_path / "run", options).rows("log")
    assert all(math.isfinite(row["d_loss"]) for row in rows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_training_on_cuda_follows_the_cpu(tmp_path: Path) -> None:
    on = {name: dataclasses.replace(OPTIONS, device=name) for name in ("cpu", "cuda")}
    plain = MLP.replace(g_dropout=0.0, d_dropout=0.0)  # dropout draws from the device's generator
    rows = {name: fit(plain, tmp_path / name, o).rows("log") for name, o in on.items()}
    for a, b in zip(rows["cpu"], rows["cuda"], strict=True):
        assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.skipif(os.name == "nt", reason="file sizes are limited through POSIX")
def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    import resource

    run = fit(MLP.replace(steps=5), tmp_path / "run", OPTIONS)
    before = run.checkpoints()[-1].read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            for _ in run_steps(MLP, tmp_path / "run", OPTIONS, longer=True):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.checkpoints()[-1].read_bytes() == before and not list(run.path.rglob("*.tmp"))
    assert contents(fit(MLP, tmp_path / "run", OPTIONS)) == contents(
        fit(MLP, tmp_path / "whole", OPTIONS)
    )


def test_data_root_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(MLP, Path("run"), dataclasses.replace(OPTIONS, data_root=Path("data")))
    assert Run(Path("run")).options.data_root == tmp_path / "data"


def test_a_folder_is_refused_before_its_data_is_looked_for(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", MLP)
    absent = dataclasses.replace(OPTIONS, data_root=tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        fit(MLP.replace(dataset="mnist"), tmp_path / "run", absent)


def test_threads_option_is_obeyed(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        next(run_steps(MLP, tmp_path / "run", dataclasses.replace(OPTIONS, threads=2)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
