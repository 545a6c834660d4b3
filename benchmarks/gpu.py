"""Steps per second on a GPU: a baseline loop, ganatomy's eager step, and its captured step.

    python benchmarks/gpu.py OUT [--device cuda] [--seconds 2] [--turns 5] [--only NAME ...]

Writes OUT/benchmark.json, OUT/benchmark.md and OUT/profile.txt, after each workload anew. Loops
take turns, each in a process of its own; the values are medians. The baseline is what tutorials
show: a DataLoader of PIL images with 8 workers and pinned memory, PyTorch's layers as they come,
autocast for bf16, and six numbers that are read at every step. The eager and the captured step run
as `ganatomy train` runs them, in a run folder with rows, TensorBoard, grids and checkpoints.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from training import Images, data_of, ours, plain

from ganatomy.data import Samples
from ganatomy.evaluation.checkpoints import evaluate_run
from ganatomy.evaluation.evaluate import evaluate
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, reference
from ganatomy.figures.images import to_uint8
from ganatomy.gan import captured, step
from ganatomy.gan.machine import environment, numerics
from ganatomy.gan.state import State
from ganatomy.recipes.named import RECIPES
from ganatomy.recipes.recipe import Precision, Recipe, RunOptions
from ganatomy.runs.sampling import generate
from ganatomy.training.loop import fit

LOOPS = ("baseline", "eager", "captured")
WORKERS, CHUNK = 8, 500
QUALITY = 1.1
"""FD that mnist-fast is trained to; the time is that of training alone."""


@dataclass(frozen=True)
class Workload:
    """A recipe with a precision, and the factors to reach."""

    recipe: Recipe
    precision: Precision
    baseline: float
    """least factor of the captured step against the baseline"""
    eager: float
    """least factor of the captured step against the eager step"""


WORKLOADS = {
    "mlp": Workload(RECIPES["basic-gan"].recipe, "fp32", 20, 8),
    "dcgan28-16": Workload(RECIPES["capacity-z100-g16-d16"].recipe, "fp32", 8, 5),
    "mnist-fast": Workload(RECIPES["mnist-fast"].recipe, "fp32", 8, 5),
    "dcgan64": Workload(RECIPES["dcgan64"].recipe, "bf16", 3, 2),
    "cifar": Workload(RECIPES["dcgan-cifar10"].recipe.replace(batch=128), "bf16", 3, 2),
}


def baseline(recipe: Recipe, data: Samples, device: str, precision: Precision) -> Iterator[object]:
    """Train as tutorials do, for ever."""
    state = State.new(recipe, recipe.data.shape or data.shape)
    g, d = (
        without_sigmoid(plain(net)).to(device) for net in (state.generator, state.discriminator)
    )
    betas = (recipe.training.beta1, recipe.training.beta2)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=betas) for net in (g, d))
    n, gpu = recipe.training.batch, device != "cpu"
    loss, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(n).to(device), torch.zeros(n).to(device)
    workers = WORKERS if gpu else 0
    images = Images(data, (recipe.data.shape or data.shape)[-1])
    loader = DataLoader(
        images, n, shuffle=True, drop_last=True, num_workers=workers, pin_memory=gpu,
        persistent_workers=workers > 0,
    )  # fmt: skip
    for real in itertools.chain.from_iterable(itertools.repeat(loader)):
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            fake = g(torch.randn(n, recipe.network.z_dim, device=device))
            on_real, on_fake = d(real.to(device, non_blocking=True)), d(fake.detach())
            losses = loss(on_real.view(-1), ones), loss(on_fake.view(-1), zeros)
        opt_d.zero_grad()
        (losses[0] + losses[1]).backward()
        opt_d.step()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            after = d(fake)
            g_loss = loss(after.view(-1), ones)
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        shown = (*losses, g_loss, on_real.mean(), on_fake.mean(), after.mean())
        yield [value.item() for value in shown]


def without_sigmoid(net: nn.Module) -> nn.Module:
    """Return the network with logits, which PyTorch's autocast wants, instead of probabilities."""
    layers = [layer for layer in net.children() if not isinstance(layer, nn.Sigmoid)]
    return nn.Sequential(*layers)


def work(pipe: Connection, name: str, kind: str, device: str) -> None:
    """Run one loop in its own process: for as many seconds as asked for, answer steps and time."""
    workload = WORKLOADS[name]
    data = data_of(workload.recipe)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "baseline":
            stepping = baseline(workload.recipe, data, device, workload.precision)
        else:
            if kind == "eager":
                captured.best_steps = lambda device: step.steps
            stepping = ours(workload.recipe, data, Path(folder), workload.precision, device)
        try:
            for seconds in iter(pipe.recv, 0):
                pipe.send(rate(stepping, seconds, device))
        except Exception as error:  # the others go on
            pipe.send(f"{type(error).__name__}: {error}")


def rate(stepping: Iterator[object], seconds: float, device: str) -> float:
    """Return steps per second over some time."""
    begun, taken = time.perf_counter(), 0
    while taken < 3 or time.perf_counter() - begun < seconds:
        next(stepping)
        taken += 1
        if taken % 50 == 0 and device != "cpu":
            torch.cuda.synchronize()
    if device != "cpu":
        torch.cuda.synchronize()
    return taken / (time.perf_counter() - begun)


def compare(name: str, device: str, seconds: float, turns: int) -> dict[str, Any]:
    """Return the rates of all loops of a workload, in turns; the first turn is not counted."""
    context, pipes = multiprocessing.get_context("spawn"), dict[str, Connection]()
    for kind in LOOPS:
        pipes[kind], theirs = context.Pipe()
        # not a daemon: the baseline's DataLoader has workers
        context.Process(target=work, args=(theirs, name, kind, device)).start()
    rates: dict[str, list[float]] = {kind: [] for kind in LOOPS}
    errors: dict[str, str] = {}
    for kind in LOOPS * (turns + 1):
        if kind in errors:
            continue
        pipes[kind].send(seconds)
        answer = pipes[kind].recv()
        if isinstance(answer, str):
            errors[kind] = answer
        else:
            rates[kind].append(answer)
    for kind in LOOPS:
        if kind not in errors:
            pipes[kind].send(0)
    middle = {kind: statistics.median(found[1:]) for kind, found in rates.items() if found[1:]}
    return {"rates": {kind: found[1:] for kind, found in rates.items()}, "median": middle} | (
        {"errors": errors} if errors else {}
    )


def quality(device: str, most: float) -> dict[str, Any]:
    """Train mnist-fast until its FD reaches QUALITY, and return the seconds of training."""
    recipe, rows, spent = RECIPES["mnist-fast"].recipe, [], 0.0
    recipe = recipe.replace(dataset="mnist10k", epochs=None, steps=10**6)
    data = data_of(recipe)
    ref = reference(
        preset("classifier-10k"), "mnist", EvalOptions(Path(), device=torch.device(device))
    )
    state = State.new(recipe, data.shape, device)
    with numerics(torch.device(device)):
        stepping = captured.best_steps(torch.device(device))(state, recipe, data)
        while spent < most:
            begun = time.perf_counter()
            for _ in itertools.islice(stepping, CHUNK):
                pass
            if device != "cpu":
                torch.cuda.synchronize()
            spent += time.perf_counter() - begun
            fakes = to_uint8(generate(state.ema, 10_000, recipe, 0))
            fd = evaluate(fakes, ref, metrics=("fd",))["fd"]
            rows.append({"step": state.step, "seconds": spent, "fd": fd})
            if fd <= QUALITY:
                break
    return {"rows": rows, "reached": rows[-1]["fd"] <= QUALITY, "seconds": spent}


def evaluation(device: str) -> dict[str, Any]:
    """Evaluate a run by classifier-10k, with all metrics, and return the seconds of each time.

    The first measures the real scores too, unless they are cached, and starts the device's
    libraries.
    """
    ref = reference(
        preset("classifier-10k"), "mnist", EvalOptions(Path(), device=torch.device(device))
    )
    recipe = RECIPES["mnist-fast"].recipe.replace(dataset="mnist10k", epochs=None, steps=20)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        run = fit(recipe, Path(folder) / "run", RunOptions(device=device))
        for _ in range(4):
            begun = time.perf_counter()
            [measured] = evaluate_run(run, [run.checkpoint()], ref)
            seconds.append(time.perf_counter() - begun)
    return {"first": seconds[0], "repeated": seconds[1:], "values": len(measured)}


def profile(name: str, device: str) -> str:
    """Return a table of the kernels that a captured step spends its time in."""
    workload = WORKLOADS[name]
    data = data_of(workload.recipe)
    state = State.new(workload.recipe, data.shape, device)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device != "cpu" else []
    with numerics(torch.device(device)):
        stepping = captured.best_steps(torch.device(device))(
            state, workload.recipe.replace(epochs=None, steps=10**6), data, workload.precision
        )
        for _ in itertools.islice(stepping, 20):
            pass
        with torch.profiler.profile(activities=kinds) as found:
            begun = time.perf_counter()
            for _ in itertools.islice(stepping, 20):
                pass
            if device != "cpu":
                torch.cuda.synchronize()
            wall = (time.perf_counter() - begun) / 20
    order = "self_cuda_time_total" if device != "cpu" else "self_cpu_time_total"
    rows = found.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=60)
    return f"## {name}: {wall * 1e3:.3f} ms a step under the profiler, 20 steps\n\n{rows}\n"


def page(found: dict[str, Any]) -> str:
    """Return the results as markdown."""
    where = found["where"]
    heads = ["workload", "precision", *LOOPS, "× baseline", "wanted", "× eager", "wanted"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * 7]
    for name, result in found["workloads"].items():
        workload, middle = WORKLOADS[name], result["median"]
        rates = [f"{middle[kind]:,.0f}" if kind in middle else "–" for kind in LOOPS]
        cells = [name, workload.precision, *rates]
        for kind, wanted in (("baseline", workload.baseline), ("eager", workload.eager)):
            both = kind in middle and "captured" in middle
            factor = f"{middle['captured'] / middle[kind]:.1f}" if both else "–"
            cells += [factor, f"≥ {wanted:g}"]
        lines.append(f"| {' | '.join(cells)} |")
        lines += [f"\n{kind}: {why}\n" for kind, why in result.get("errors", {}).items()]
    if quality := found.get("quality"):
        last = quality["rows"][-1]
        lines += ["", f"`mnist-fast`, seed 0: FD {last['fd']:.3f} after {last['seconds']:.1f} s of "
                  f"training ({last['step']:,} steps); wanted: {QUALITY} within 15 s."]  # fmt: skip
    if measured := found.get("evaluation"):
        again = statistics.median(measured["repeated"])
        lines += ["", f"`classifier-10k`, {measured['values']} values of 10,000 samples: "
                  f"{measured['first']:.2f} s first, then {again:.2f} s; wanted: 2."]  # fmt: skip
    card = ", ".join(where["cuda"]) or where["cpu"]
    about = (
        f"`python benchmarks/gpu.py`: steps per second, medians of {found['turns']} interleaved "
        f"turns of {found['seconds']:g} s. {card}, torch {where['torch']}, Python "
        f"{where['python']}, ganatomy {where['ganatomy']}."
    )
    return "\n".join(["# GPU benchmark", "", about, "", *lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write what is known after each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument("--quality", type=float, default=30.0, help="seconds of training at most")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"where": environment(), "workloads": {}}
    found |= {"turns": args.turns, "seconds": args.seconds}

    def save() -> None:
        (args.out / "benchmark.json").write_text(json.dumps(found, indent=1) + "\n")
        (args.out / "benchmark.md").write_text(page(found))

    for name in args.only:
        found["workloads"][name] = compare(name, args.device, args.seconds, args.turns)
        save()
    if args.quality > 0:
        found["quality"] = quality(args.device, args.quality)
        save()
    found["evaluation"] = evaluation(args.device)
    save()
    text = [profile(name, args.device) for name in args.only]
    (args.out / "profile.txt").write_text("\n".join(text))
    print(page(found))


if __name__ == "__main__":
    main()
