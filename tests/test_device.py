"""Metrics on a device give the CPU's numbers, and what the reference alone gives is kept."""

import dataclasses
import gc
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONV
from test_metrics import GOOD, compare, gaussian, look
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch_fidelity.metric_kid import kid_features_to_metric

from ganatomy.data import load
from ganatomy.evaluation import evaluate
from ganatomy.evaluation.checkpoints import evaluate_run
from ganatomy.evaluation.metrics import (
    CPU,
    METRICS,
    Comparison,
    Extracted,
    distances,
    moments,
    neighbors,
)
from ganatomy.evaluation.metrics.remember import placed, remembered
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.recipes.recipe import RunOptions
from ganatomy.training.loop import fit

DIGITS = load("mnist10k", Path(), "train").values
ON_DEVICE = {"fd", "fd_infinity", "kid", "prdc", "near_duplicates", "memorized"}
PRETENDED = torch.device("meta")
CUDA = torch.device("cuda")


class Away(Tensor):
    """A tensor on the pretended device; it cannot be read without being brought to the CPU."""

    inside: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Away":
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), dtype=inner.dtype, device=PRETENDED
        )
        made.inside = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *given: Any) -> Any:
        raise RuntimeError(f"{func} of a tensor that should have been brought to the CPU")


class Elsewhere(TorchDispatchMode):
    """A pretended device, which computes on the CPU but refuses tensors of both at once."""

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("device")
        tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
        away = [part for part in tensors if isinstance(part, Away)]
        if away and any(part.ndim and not isinstance(part, Away) for part in tensors):
            raise RuntimeError(f"{func} of tensors on two devices")
        self.computed += bool(away)
        if wanted is not None:
            kwargs["device"] = CPU
        args, kwargs = tree_map_only(Away, lambda part: part.inside, (args, kwargs))
        found = func(*args, **kwargs)
        stays = bool(away) if wanted is None else wanted == PRETENDED
        return tree_map_only(Tensor, Away, found) if stays else found


def numbers(found: Mapping[str, Iterable[float | None]]) -> list[float]:
    return [x for estimate in found.values() for x in estimate if x is not None]


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "gpu" not in request.keywords:
        monkeypatch.setattr(distances, "SUBSETS", 3)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_compute_where_they_are_told(name: str) -> None:
    here = METRICS[name].measure(replace(compare(), resamples=3))
    with Elsewhere() as device:
        there = METRICS[name].measure(replace(compare(), resamples=3, device=PRETENDED))
    assert numbers(there) == pytest.approx(numbers(here), rel=1e-9, abs=1e-12)
    assert (device.computed > 0) == (name in ON_DEVICE)


def test_the_pretended_device_refuses_to_mix() -> None:
    with Elsewhere(), pytest.raises(RuntimeError, match="two devices"):
        GOOD.features.to(PRETENDED) + GOOD.features


@pytest.fixture(scope="module")
def ref() -> Reference:
    return reference(preset("classifier-2k"), "mnist", EvalOptions(Path()))


@pytest.mark.filterwarnings("ignore:n = ")
def test_an_evaluation_on_a_device_is_the_cpus(
    ref: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = DIGITS[:120].flip(3)
    here = evaluate.evaluate(pixels, ref)
    monkeypatch.setattr(evaluate, "_computing", lambda ref: PRETENDED)
    with Elsewhere() as device:
        there = evaluate.evaluate(pixels, ref)
    assert device.computed and there.warnings == here.warnings
    found, expected = (
        numbers({name: dataclasses.astuple(score) for name, score in e.scores.items()})
        for e in (there, here)
    )
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_metrics_compute_on_cuda_alone(ref: Reference) -> None:
    """Others, such as MPS, have no float64."""
    for kind, expected in (("cpu", CPU), ("mps", CPU), ("cuda", CUDA)):
        there = ref._replace(space=ref.space._replace(device=torch.device(kind)))
        assert evaluate._comparison(ref.real, there).device == expected


@pytest.mark.parametrize(("n", "m", "d"), [(1100, 1300, 64), (60, 50, 784), (5, 7, 3)])
def test_kid_is_torch_fidelitys_to_the_bit(n: int, m: int, d: int) -> None:
    fake, real = gaussian(n, d), gaussian(m, d, seed=1) + 0.1
    theirs = kid_features_to_metric(
        fake, real, kid_subsets=3, kid_subset_size=min(n, m, 1000), rng_seed=7, verbose=False
    )
    found = distances._subsets(fake, real, 7)
    assert [float(found.mean()), float(found.std())] == [*theirs.values()]


def test_what_the_reference_alone_gives_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor] = []
    sums: list[bool] = []

    def noted(a: Tensor, *given: Any) -> Iterator[tuple[slice, Tensor]]:
        asked.append(a)
        return blocks(a, *given)

    def noted_sum(product: tuple[Any, bool], d: int) -> Any:
        sums.append(product[1])
        return kernel_sum(product, d)

    blocks, kernel_sum = neighbors.blocks, distances._sum
    monkeypatch.setattr(neighbors, "blocks", noted)
    monkeypatch.setattr(distances, "_sum", noted_sum)
    real, held_out = look(torch.arange(300) % 10, 21), look(torch.arange(200) % 10, 22)
    whole = moments(real.features)
    for seed, passes, alone in ((23, 6, 6), (24, 3, 3)):
        fake = look(torch.arange(250) % 10, seed)
        asked.clear()
        sums.clear()
        compared = Comparison(fake=fake, real=real, moments=whole, held_out=held_out, resamples=2)
        for name in ("prdc", "near_duplicates", "memorized", "kid"):
            METRICS[name].measure(compared)
        assert len(asked) == passes and sum(sums) == alone


def test_results_are_kept_while_their_tensors_live_unchanged() -> None:
    computed: list[int] = []

    @remembered
    def total(x: Tensor, power: int = 1) -> float:
        computed.append(power)
        return float(x.pow(power).sum())

    x = torch.ones(3)
    assert [total(x), total(x), total(x, 2), total(x, power=2)] == [3.0] * 4
    assert computed == [1, 2, 2]
    x += 1
    assert total(x) == 6.0
    computed.clear()
    for _ in range(3):
        total(torch.ones(2))
    assert computed == [1, 1, 1]
    with torch.inference_mode():
        assert total(torch.ones(4)) == 4.0
    kept = weakref.ref(made(x))
    assert kept() is not None and kept() is made(x)
    del x
    gc.collect()
    assert kept() is None


class Made:
    """A result that can be seen to be gone."""


@remembered
def made(x: Tensor) -> Made:
    return Made()


def test_a_tensor_is_moved_once_and_not_at_all_to_where_it_is() -> None:
    x = torch.ones(3)
    assert placed(x, CPU) is x
    with Elsewhere():
        there = placed(x, PRETENDED)
        assert there is placed(x, PRETENDED) and there.device == PRETENDED


# on a GPU


@pytest.fixture(scope="module")
def noisy() -> Tensor:
    """10,000 digits with noise, some of them copies."""
    noise = torch.randn(DIGITS.shape, generator=torch.Generator().manual_seed(0))
    pixels = (DIGITS + 20 * noise).clamp(0, 255).to(torch.uint8)
    pixels[100:120], pixels[200:220] = pixels[:20], DIGITS[200:220]
    return pixels


def place(kind: str) -> Reference:
    return reference(
        preset("classifier-10k"), "mnist", EvalOptions(Path(), device=torch.device(kind))
    )


@pytest.mark.gpu
@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_10000_images_are_the_cpus_on_a_gpu(name: str, noisy: Tensor) -> None:
    here = place("cpu")
    fake = Extracted(*here.space.extract(noisy), noisy)
    compared = evaluate._comparison(fake, here)
    expected = numbers(METRICS[name].measure(compared))
    found = numbers(METRICS[name].measure(replace(compared, device=CUDA)))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.gpu
def test_images_have_the_cpus_numbers_on_a_gpu(noisy: Tensor) -> None:
    """Up to the float32 rounding of their features, even where products may use TF32."""
    products: Any = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "tf32"
    try:
        there = evaluate.evaluate(noisy, place("cuda"))
    finally:
        products.fp32_precision = before
    here = evaluate.evaluate(noisy, place("cpu"))
    assert there.fingerprint == here.fingerprint
    for name in here:
        assert there[name] == pytest.approx(here[name], rel=2e-3, abs=2e-4), name
        assert there.real(name) == pytest.approx(here.real(name), rel=1e-6, abs=1e-12), name


@pytest.mark.gpu
def test_a_run_is_evaluated_in_two_seconds_on_a_gpu(tmp_path: Path) -> None:
    run = fit(CONV, tmp_path / "run", RunOptions(device="cuda"))
    ref = place("cuda")
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        [*evaluate_run(run, [run.checkpoint()], ref)]
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 2, f"seconds of the evaluations: {seconds}"
