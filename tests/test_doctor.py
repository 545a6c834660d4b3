"""The doctor notices what is wrong, and nothing else."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import Call

from ganatomy.data import Size
from ganatomy.evaluation import classifier
from ganatomy.gan.cost import Cost, predict_cost
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.training import doctor
from ganatomy.training.loop import fit

CPU = torch.device("cpu")


def test_training_is_as_it_should_be_here() -> None:
    assert doctor.self_test(CPU).startswith("passed: 20 steps")


@pytest.mark.parametrize(
    "changes", [{"lr_g": 2.2e-4}, {"beta1": 0.89}, {"seed": 1}, {"g_norm": "none"}]
)
def test_training_that_is_another_is_noticed(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROBE", doctor.PROBE.replace(steps=20, **changes))
    assert doctor.self_test(CPU).startswith("failed")


@pytest.mark.parametrize("name", doctor.GOLDEN)
def test_nan_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.GOLDEN, name, math.nan)
    assert doctor.self_test(CPU).startswith("failed")


def test_a_changed_classifier_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(said.startswith("intact") for said in doctor.classifiers().values())
    name, _ = classifier.SHIPPED["conv"]
    monkeypatch.setitem(classifier.SHIPPED, "conv", (name, 64 * "0"))
    assert doctor.classifiers()["conv"].startswith("damaged")


def test_changed_images_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    assert doctor.datasets(tmp_path)["mnist10k"] == "intact"
    monkeypatch.setitem(doctor.DIGESTS, "mnist10k", ("0",))
    code, out, said = call("doctor", "--data-root", tmp_path, "--json")
    assert code == 1 and json.loads(out)["datasets"]["mnist10k"].startswith("damaged")
    assert said.startswith("ganatomy: datasets: mnist10k: damaged") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("native", "times", "said"),
    [
        (
            True,
            (0.2, 0.1),
            "native, 2.00 times the speed of fp32 for mnist-fast: use --precision bf16",
        ),
        (
            True,
            (0.1, 0.2),
            "native, 0.50 times the speed of fp32 for mnist-fast: use --precision fp32",
        ),
        (False, (), "emulated: use --precision fp32"),
    ],
)
def test_what_bf16_is_worth(
    native: bool, times: tuple[float, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(times)
    spent = predict_cost(doctor.PROBE, Size(10, (1, 28, 28)), measure=False)

    def timed(*_: object) -> Cost:
        return dataclasses.replace(spent, step_seconds=next(left))

    monkeypatch.setattr(doctor, "native_bf16", lambda device: native)
    monkeypatch.setattr(doctor, "predict_cost", timed)
    assert doctor.bf16(CPU) == said


def test_full_mnist_is_intact(full_data: Path) -> None:
    assert doctor.datasets(full_data)["mnist"] == "intact"


@pytest.mark.parametrize("keep", [1, 3, 0])
@pytest.mark.board
def test_disk_use_is_predicted_approximately(tmp_path: Path, keep: int) -> None:
    recipe = Recipe.of(
        dataset="mnist10k", batch=16, steps=40, ema=0.9, g_widths=(64,), d_widths=(64,)
    )
    options = RunOptions(
        log_every=1, save_every=10, sample_every=20, keep=keep, device="cpu", threads=1
    )
    run = fit(recipe, tmp_path / "run", options)
    actual = sum(f.stat().st_size for f in run.path.rglob("*") if f.is_file())
    predicted = predict_cost(recipe, Size(10_000, (1, 28, 28)), options, measure=False).disk_bytes
    assert predicted == pytest.approx(actual, rel=0.25)
    assert float(f"{predicted:.2g}") == predicted


def test_a_dry_run_says_how_much_disk(call: Call) -> None:
    code, out, _ = call("train", "basic-gan", "--dataset", "mnist10k", "--dry_run", "--json")
    assert code == 0 and 30e6 < json.loads(out)["disk_bytes"] < 60e6


def test_the_report(call: Call, tmp_path: Path) -> None:
    report = doctor.doctor(root=str(tmp_path))
    code, out, said = call("doctor", "--data-root", tmp_path, "--json")
    told = json.loads(out)
    assert code == 0 and not said and not report.problems
    changing = ("self_test", "free_disk_gb", "bf16")
    assert {k: told.pop(k) for k in changing}.keys() == set(changing)
    assert told == {k: v for k, v in report.to_dict().items() if k not in changing}
    assert report.rows()["datasets: mnist10k"] == "intact"
    assert report.disk.startswith("enough for mnist-fast, about ")
    broken = dataclasses.replace(report, disk="too little for it", datasets={"mnist": "damaged: x"})
    assert broken.problems == {"disk": "too little for it", "datasets: mnist": "damaged: x"}
