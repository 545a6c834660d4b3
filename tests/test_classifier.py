"""Classifiers are what their files say, and the same images give the same file."""

import dataclasses
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganatomy.data import Samples, load
from ganatomy.data.content import digest_of, draw, image_hashes, label_digest
from ganatomy.evaluation import classifier, fitting
from ganatomy.evaluation.classifier import KINDS, SHIPPED
from ganatomy.evaluation.metrics import moments

DIGITS = load("mnist10k", Path(), "train")
BETTER_THAN = {"conv": 0.995, "mlp-hinge": 0.97}


def stripes(n: int, seed: int) -> Samples:
    """Noisy 8 x 8 images of two classes: stripes that lie and stripes that stand."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    lying = (torch.arange(8) % 2 * 150).view(8, 1).expand(8, 8)
    images = torch.stack([lying if label else lying.T for label in labels]).unsqueeze(1)
    noise = torch.randint(0, 100, images.shape, generator=rng)
    return Samples((images + noise).to(torch.uint8), labels, ("standing", "lying"))


TRAIN, TEST = stripes(320, 0), stripes(100, 1)


def fitted(kind: str, seed: int = 0, epochs: int = 3) -> bytes:
    *_, last = fitting.fit(TRAIN, TEST, "some/stripes.zip", kind, epochs, seed, batch=32)
    assert last.content is not None and last.epoch == last.epochs == epochs
    return last.content


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_classifiers_are_small_good_and_those_that_were_published(kind: str) -> None:
    name, sha256 = SHIPPED[kind]
    content = files("ganatomy.evaluation").joinpath("classifiers", name).read_bytes()
    assert len(content) <= 2_000_000 and hashlib.sha256(content).hexdigest() == sha256
    found = classifier.shipped(kind)
    confusion = torch.tensor(found.about["confusion"])
    assert confusion.sum() == found.about["n_test"] == found.test.n == 10_000
    assert found.about["accuracy"] == confusion.diagonal().sum() / 10_000 >= BETTER_THAN[kind]
    digits = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # of MNIST's test split
    assert confusion.sum(1).tolist() == digits
    assert found.train.n == found.about["n_train"] == 60_000 == sum(found.about["class_counts"])
    assert len(found.held_out) == 10_000


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_classifiers_know_the_embedded_digits(kind: str) -> None:
    found = classifier.shipped(kind)
    features, logits = classifier.extract(found.net, DIGITS.values[:2000])
    assert (logits.argmax(1) == DIGITS.labels[:2000]).float().mean() > BETTER_THAN[kind]
    assert torch.equal(classifier.logits(found.net, features), logits)
    apart = (moments(features).mean - found.train.mean).norm() / found.train.cov.trace().sqrt()
    assert apart < 0.2  # the same features that the stored moments are of


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_classifiers_measure_as_their_files_say(kind: str, full_data: Path) -> None:
    found, (train, test) = classifier.shipped(kind), classifier.train_test_split("mnist", full_data)
    assert digest_of(train) == classifier.MNIST and test is not None
    features, logits = classifier.extract(found.net, test.values)
    assert (logits.argmax(1) == test.labels).double().mean().item() == found.about["accuracy"]
    nines = logits.argmax(1)[test.labels == 9].bincount(minlength=10)
    assert nines.tolist() == found.about["confusion"][9]
    torch.testing.assert_close(features, found.held_out, rtol=2e-3, atol=2e-3)
    for samples, stored in ((train, found.train), (test, found.test)):
        again = moments(classifier.extract(found.net, samples.values)[0])
        torch.testing.assert_close(again.mean, stored.mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again.cov, stored.cov, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.labeled])
def test_fitting_is_exact_and_learns(kind: str) -> None:
    content = fitted(kind)
    assert content == fitted(kind) != fitted(kind, seed=1)
    found = classifier.load(content, "stripes")
    assert found.about["accuracy"] > 0.9 and found.about["classes"] == ["standing", "lying"]
    assert found.about["data"] == "stripes.zip" and found.sha256 == _sha(content)
    features, logits = classifier.extract(found.net, draw(TEST, 10_000).values)
    assert features.shape == (100, 64) and logits.shape == (100, 2)
    for samples, stored in ((TRAIN, found.train), (TEST, found.test)):
        again = moments(classifier.extract(found.net, samples.values)[0])
        torch.testing.assert_close(again.cov, stored.cov)
    torch.testing.assert_close(features, found.held_out, rtol=1e-3, atol=1e-2)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_fitting_and_its_callers_randomness_do_not_touch() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    epochs = fitting.fit(TRAIN, TEST, "some/stripes.zip", "mlp-hinge", 3, 0, batch=32)
    contents = [(at.content, torch.rand(1))[0] for at in epochs]
    torch.manual_seed(5)
    assert fitted("mlp-hinge") == contents[-1]
    assert torch.equal(torch.rand(1), expected)


def test_the_cache_gives_a_classifier_to_its_own_images_only(cache: Path) -> None:
    first, second = (fitting.store(fitted("mlp-hinge", seed)) for seed in (0, 1))
    assert first != second and first.is_relative_to(cache)
    found = classifier.find("mlp-hinge", digest_of(TRAIN), "stripes", TRAIN.shape)
    assert found.sha256 == _sha(second.read_bytes())  # the newest
    with pytest.raises(
        ValueError, match=r"no mlp-hinge classifier for others .*ganatomy classifier fit"
    ):
        classifier.find("mlp-hinge", digest_of(TEST), "others", TEST.shape)
    assert (
        classifier.find("conv", classifier.MNIST, "mnist", (1, 28, 28)).sha256 == SHIPPED["conv"][1]
    )


def test_a_classifier_is_of_images_with_their_classes(cache: Path) -> None:
    fitting.store(fitted("mlp-hinge"))
    images, labels = digest_of(TRAIN), label_digest(TRAIN, image_hashes(TRAIN))
    found = classifier.find("mlp-hinge", images, "stripes", TRAIN.shape, labels)
    assert (found.about["digest"], found.about["labels"]) == (images, labels)
    other = Samples(TRAIN.values, 1 - TRAIN.labels, TRAIN.classes)
    with pytest.raises(ValueError, match=r"for stripes with these classes .*classifier fit"):
        classifier.find(
            "mlp-hinge", images, "stripes", TRAIN.shape, label_digest(other, image_hashes(other))
        )


@pytest.mark.parametrize("kind", ["mlp-hinge", "rotation"])
def test_the_same_images_in_another_order_give_the_same_file(kind: str) -> None:
    def flipped(part: Samples) -> Samples:
        return Samples(part.values.flip(0), part.labels.flip(0), part.classes)

    *_, one = fitting.fit(TRAIN, TEST, "stripes.zip", kind, 2, 0, batch=32)
    *_, other = fitting.fit(flipped(TRAIN), flipped(TEST), "stripes.zip", kind, 2, 0, batch=32)
    assert one.content == other.content is not None


def test_ids_are_classes_and_many_classes_have_no_confusion_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "CONFUSION", 1)
    *_, last = fitting.fit(TRAIN, TEST, "stripes.zip", "mlp-hinge", 1, 0, batch=32)
    assert last.content is not None
    found = classifier.load(last.content, "many")
    assert found.about["confusion"] == [] and found.about["accuracy"] > 0.4
    monkeypatch.setattr(fitting, "CONFUSION", 2)
    confusion = torch.tensor(classifier.load(fitted("mlp-hinge"), "few").about["confusion"])
    assert confusion.sum() == len(TEST)


def test_a_changed_classifier_is_refused(cache: Path) -> None:
    path = fitting.store(fitted("mlp-hinge"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name} is damaged: expected sha256"):
        classifier.find("mlp-hinge", digest_of(TRAIN), "stripes", TRAIN.shape)


@pytest.mark.parametrize(
    "content", [b"", b"\x02\0\0\0\0\0\0\0{}", b"no classifier at all", b"\xff" * 99]
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"it\.file is not a classifier"):
        classifier.load(content, "it.file")


@pytest.mark.parametrize(
    "said",
    [
        {"shape": [1]},
        {"shape": [10**6, 10**6, 10**6]},
        {"shape": [10**400, 1, 1]},
        {"shape": "x"},
        {"kind": ["conv"]},
        {"classes": 2},
        {"n_train": "many"},
        {"digest": None},
        ["no table"],
        "[" * 99_999,
    ],
)
@pytest.mark.parametrize("kind", SHIPPED)
def test_files_with_a_wrong_description_are_refused(kind: str, said: Any) -> None:
    """A claimed size takes no memory."""
    content = files("ganatomy.evaluation").joinpath("classifiers", SHIPPED[kind][0]).read_bytes()
    size = int.from_bytes(content[:8], "little")
    top = json.loads(content[8 : 8 + size])
    about = json.loads(top["__metadata__"]["ganatomy"])
    told = about | said if isinstance(said, dict) else said
    top["__metadata__"]["ganatomy"] = told if isinstance(told, str) else json.dumps(told)
    text = json.dumps(top).encode()
    with pytest.raises(ValueError, match=r"it\.file is not a classifier"):
        classifier.load(len(text).to_bytes(8, "little") + text + content[8 + size :], "it.file")


def test_data_that_no_classifier_can_be_fitted_on() -> None:
    unlabelled = dataclasses.replace(TRAIN, classes=())
    with pytest.raises(ValueError, match=r"needs classes, but x has none; .*--kind rotation"):
        next(fitting.fit(unlabelled, TEST, "x", "conv", 1, 0))
    with pytest.raises(ValueError, match=r"needs 2 or more test images, but x has 0; .*own-10k"):
        next(fitting.fit(TRAIN, None, "x", "conv", 1, 0))
    with pytest.raises(ValueError, match="different classes"):
        next(fitting.fit(TRAIN, DIGITS, "x", "conv", 1, 0))
    for epochs, seed in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match=f"at least 0, got {epochs} and {seed}$"):
            next(fitting.fit(TRAIN, TEST, "x", "conv", epochs, seed))


def test_undivided_paths_keep_a_tenth_of_the_images_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=TRAIN.values.numpy(), labels=TRAIN.labels.numpy())
    train, test = classifier.train_test_split(str(tmp_path / "x.npz"), Path())
    assert test is not None and (len(train), len(test)) == (288, 32)
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == {0, 1}
    both = {image.numpy().tobytes() for half in (train, test) for image in half.values}
    assert both == {image.numpy().tobytes() for image in TRAIN.values}


def test_a_named_dataset_is_not_divided(tmp_path: Path) -> None:
    train, test = classifier.train_test_split("mnist10k", tmp_path)
    assert len(train) == 10_000 and test is None
