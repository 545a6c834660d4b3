"""The real images of a measurement are a random choice by content, which the fingerprint names."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganatomy.data import Samples
from ganatomy.data.content import digest_of, draw
from ganatomy.evaluation import classifier, evaluate, fitting
from ganatomy.evaluation.protocol import Protocol
from ganatomy.evaluation.reference import EvalOptions, Reference, reference
from ganatomy.evaluation.result import Evaluation
from ganatomy.figures.images import png

PLACE = EvalOptions(Path())
RAW = Protocol(features="raw", n=1500)
HINGE = Protocol(features="classifier-mlp-hinge", n=1500)


@pytest.fixture(autouse=True)
def few_samples_are_no_matter() -> None:
    warnings.filterwarnings("ignore", message="n = .*")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """References of 1,000 images, of a cache that is empty."""
    monkeypatch.setattr("ganatomy.evaluation.reference.REAL", 1000)


def images(n: int, rare: float, seed: int) -> tuple[Tensor, Tensor]:
    """Images (n, 1, 4, 4) of two classes: noise around stripes that lie or (rare) stand."""
    rng = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, generator=rng) < rare).long()
    lying = (torch.arange(4) % 2 * 90).view(4, 1).expand(4, 4)
    stripes = torch.stack([lying, lying.T])[labels][:, None]
    noise = torch.randint(0, 150, stripes.shape, generator=rng)
    return (stripes + noise).to(torch.uint8), labels


def write(path: Path, pixels: Tensor, labels: Tensor | None = None) -> str:
    if labels is None:
        np.savez(path, images=pixels.numpy())
    else:
        np.savez(path, images=pixels.numpy(), labels=labels.numpy())
    return str(path)


def measured(data: str, protocol: Protocol, fakes: Tensor) -> Evaluation:
    return evaluate.evaluate(fakes, reference(protocol, data, PLACE))


PIXELS, LABELS = images(6000, 0.1, seed=0)
PERFECT, WRONG = images(1500, 0.1, seed=1)[0], images(1500, 0.32, seed=2)[0]
SEES_RAW = {"fd", "fd_infinity", "kid", "diversity", "pixel_diversity"}
"""Values that a wrong mix of classes makes worse."""


@pytest.mark.parametrize("labeled", [True, False])
def test_a_perfect_generator_beats_a_wrong_mix(tmp_path: Path, labeled: bool) -> None:
    data = write(tmp_path / "x.npz", PIXELS, LABELS if labeled else None)
    good, bad = (measured(data, RAW, fakes) for fakes in (PERFECT, WRONG))
    check_order(good, bad, SEES_RAW)
    interval = good.interval("kid")
    assert interval is not None and interval[0] < 0 < interval[1] < bad["kid"]


def test_a_perfect_generator_beats_a_wrong_mix_in_features_of_a_classifier(tmp_path: Path) -> None:
    data = write(tmp_path / "x.npz", PIXELS, LABELS)
    fitting.fit_classifier(data, Path(), kind="mlp-hinge", epochs=2)
    good, bad = (measured(data, HINGE, fakes) for fakes in (PERFECT, WRONG))
    check_order(good, bad, SEES_RAW | {"chi2"})
    assert good["chi2_p"] > 0.001 > bad["chi2_p"]


def check_order(good: Evaluation, bad: Evaluation, names: set[str]) -> None:
    for name in names:
        target = 1.0 if "diversity" in name else min(good.real(name) or 0.0, good[name])
        assert abs(good[name] - target) < abs(bad[name] - target), name


def test_the_rare_class_has_its_share_of_the_reference(tmp_path: Path) -> None:
    data = write(tmp_path / "x.npz", PIXELS, LABELS)
    real = reference(RAW, data, PLACE).real.pixels
    assert real is not None and len(real) == 1000
    train, _ = classifier.train_test_split(data, Path())
    known = {image.numpy().tobytes(): int(k) for image, k in zip(PIXELS, LABELS, strict=True)}
    rare = sum(known[image.numpy().tobytes()] for image in real)
    assert abs(rare - 1000 * float(train.labels.double().mean())) < 4 * 9.5


@pytest.mark.parametrize(
    "ids",
    [
        (LABELS * 20_000 + 1),
        (LABELS * 999),
        (torch.arange(6000) // 2 * 3),
        (LABELS * 10**12),
    ],
    ids=["1 and 20001", "0 and 999", "3,000 identities", "large ids"],
)
def test_labels_have_no_effect_on_the_reference(tmp_path: Path, ids: Tensor) -> None:
    plain = reference(RAW, write(tmp_path / "x.npz", PIXELS), PLACE)
    named = reference(RAW, write(tmp_path / "x.npz", PIXELS, ids), PLACE)
    assert named.protocol == plain.protocol and len(named.classes) == len(ids.unique())
    assert named.real.pixels is not None and plain.real.pixels is not None
    assert torch.equal(named.real.pixels, plain.real.pixels) and len(named.real.pixels) == 1000


def test_identities_are_classes_to_fit_and_count(tmp_path: Path) -> None:
    ids = LABELS * 20_000 + 1
    data = write(tmp_path / "x.npz", PIXELS, ids)
    fitted, _ = fitting.fit_classifier(data, Path(), kind="mlp-hinge", epochs=1)
    assert fitted.about["classes"] == ["1", "20001"] and fitted.about["accuracy"] > 0.9
    found = measured(data, HINGE, PERFECT)
    assert found.class_counts is not None and len(found.class_counts) == 2
    many = write(tmp_path / "many.npz", PIXELS[:2100], torch.arange(2100) // 2 * 7)
    fitted, path = fitting.fit_classifier(many, Path(), kind="mlp-hinge", epochs=1)
    assert len(fitted.about["classes"]) > 900 and path.stat().st_size < 5_000_000
    assert len(measured(many, HINGE, PERFECT).class_counts or ()) == len(fitted.about["classes"])


def test_other_labels_are_another_classifier(tmp_path: Path) -> None:
    """No features of a classifier of other classes are used, in the cache or in memory."""
    data = write(tmp_path / "x.npz", PIXELS, LABELS)
    fitting.fit_classifier(data, Path(), kind="mlp-hinge", epochs=1)
    first = measured(data, HINGE, PERFECT)
    three = write(tmp_path / "x.npz", PIXELS, LABELS + torch.arange(6000) % 2)
    with pytest.raises(ValueError, match=r"no mlp-hinge classifier .* with these classes"):
        reference(HINGE, three, PLACE)
    fitting.fit_classifier(three, Path(), kind="mlp-hinge", epochs=1)
    other = measured(three, HINGE, PERFECT)
    assert other.fingerprint != first.fingerprint and len(other.class_counts or ()) == 3
    again = measured(write(tmp_path / "x.npz", PIXELS, LABELS), HINGE, PERFECT)
    assert again == first


def test_every_real_image_that_counts_is_in_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "x.npz", PIXELS)
    whole = reference(RAW, data, PLACE).protocol
    train, test = classifier.train_test_split(data, Path())
    assert test is not None
    assert (whole.drawn_n, whole.n_real) == (1000, None)
    assert whole.reference_sha256 == digest_of(train)
    assert whole.drawn_sha256 == digest_of(draw(train, 1000))
    assert whole.held_out_sha256 == digest_of(test)
    some = reference(RAW.replace(n_real=200), data, PLACE)
    assert (some.protocol.drawn_n, some.protocol.n_real, some.moments.n) == (200, 200, 200)
    assert some.protocol.reference_sha256 == some.protocol.drawn_sha256
    assert some.protocol.drawn_sha256 == digest_of(draw(train, 200))
    monkeypatch.setattr("ganatomy.evaluation.reference.REAL", 400)
    fewer = reference(RAW, data, PLACE)
    assert fewer.protocol.fingerprint != whole.fingerprint
    assert len(fewer.real.features) == 400 == len(fewer.held_out.features if fewer.held_out else "")
    assert fewer.protocol.reference_sha256 == whole.reference_sha256


@pytest.mark.parametrize("split", [False, True])
def test_names_and_order_of_files_do_not_matter(
    tmp_path: Path, split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganatomy.evaluation.reference.REAL", 50)

    def folder(name: str, order: list[int]) -> Reference:
        for place, i in enumerate(order):
            part = ("train" if i % 5 else "test") if split else ""
            file = tmp_path / "now" / part / f"{place:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(PIXELS[i]))
        found = reference(Protocol(features="raw", n=300), str(tmp_path / "now"), PLACE)
        shutil.move(tmp_path / "now", tmp_path / name)
        return found

    order = torch.randperm(400, generator=torch.Generator().manual_seed(3)).tolist()
    one, other = folder("one", [*range(400)]), folder("other", order)
    assert one.protocol == other.protocol
    found = [evaluate.evaluate(PERFECT[:300], ref) for ref in (one, other)]
    assert {*found[0]} == {*found[1]}
    for name, score in found[0].scores.items():
        assert found[1].scores[name].value == pytest.approx(score.value, rel=1e-9), name
        assert found[1].real(name) == (score.real and pytest.approx(score.real, rel=1e-9)), name


def test_equal_images_are_not_both_held_out_and_drawn(tmp_path: Path) -> None:
    twice = torch.cat([PIXELS[:600], PIXELS[:600].flip(0), PIXELS[:100]])
    ref = reference(RAW, write(tmp_path / "x.npz", twice), PLACE)
    assert ref.held_out is not None and len(ref.held_out.features) == 130
    held = {row.numpy().tobytes() for row in ref.held_out.features}
    assert not held & {row.numpy().tobytes() for row in ref.real.features}


def test_samples_of_one_class_are_not_a_classifiers() -> None:
    part = Samples(PIXELS[:100], torch.zeros(100, dtype=torch.int64), ("a", "b"))
    with pytest.raises(ValueError, match="needs classes, but x has none"):
        next(fitting.fit(part, part, "x", "mlp-hinge", 1, 0))
