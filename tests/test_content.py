"""Choices by content: functions of the set of images, in the shares that the set has."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganatomy.data import Samples, load
from ganatomy.data.content import (
    content_order,
    digest_of,
    draw,
    hold_out_tenth,
    image_hashes,
    label_digest,
)
from ganatomy.data.mnist import COUNTS, natural
from ganatomy.data.samples import READ

RNG = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (5000, 1, 4, 4), dtype=torch.uint8, generator=RNG)
LABELS = (torch.arange(5000) >= 4500).long()
SAMPLES = Samples(IMAGES, LABELS, ("common", "rare"))


def shuffled(samples: Samples, seed: int = 1) -> Samples:
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    return Samples(samples.values[order], samples.labels[order], samples.classes)


def copied(times: int) -> Samples:
    """SAMPLES of which the first image is there several times."""
    values = torch.cat([IMAGES[:1].expand(times - 1, -1, -1, -1), IMAGES])
    return Samples(values, torch.zeros(len(values), dtype=torch.int64))


def contents(values: Tensor) -> Counter[bytes]:
    return Counter(image.numpy().tobytes() for image in values)


def test_a_draw_is_a_function_of_the_set() -> None:
    one, other = draw(SAMPLES, 700), draw(shuffled(SAMPLES), 700)
    assert torch.equal(one.values, other.values) and torch.equal(one.labels, other.labels)
    assert torch.equal(draw(SAMPLES, 300).values, one.values[:300])
    everything = draw(SAMPLES, 9000)
    assert len(everything) == 5000 and torch.equal(everything.values[:700], one.values)
    assert not torch.equal(draw(SAMPLES, 700, seed=1).values, one.values)
    hashes = image_hashes(SAMPLES)
    assert torch.equal(draw(SAMPLES, 700, hashes).values, one.values)
    assert len(hashes) == 5000 > READ


@pytest.mark.parametrize("classes", [("common", "rare"), ()])
def test_a_draw_keeps_shares_and_takes_no_notice_of_labels(classes: tuple[str, ...]) -> None:
    samples = Samples(IMAGES, LABELS if classes else 0 * LABELS, classes)
    assert torch.equal(draw(samples, 1000).values, draw(SAMPLES, 1000).values)
    rare = [draw(SAMPLES, 1000, seed=seed).labels.sum().item() for seed in range(20)]
    deviation = (1000 * 0.1 * 0.9 * 0.8) ** 0.5
    assert all(abs(n - 100) < 4 * deviation for n in rare)
    assert abs(sum(rare) / 20 - 100) < 4 * deviation / 20**0.5


def test_copies_of_an_image_are_drawn_one_by_one() -> None:
    samples = copied(5000)
    first = IMAGES[0].numpy().tobytes()
    found = [contents(draw(samples, 1000, seed=seed).values)[first] for seed in range(5)]
    assert all(400 < n < 600 for n in found)
    again = draw(shuffled(samples), 1000)
    assert contents(again.values) == contents(draw(samples, 1000).values)


def test_a_digest_is_of_the_set() -> None:
    known = digest_of(SAMPLES)
    assert digest_of(shuffled(SAMPLES)) == known == digest_of(SAMPLES, image_hashes(SAMPLES))
    assert digest_of(Samples(IMAGES, 0 * LABELS)) == known
    one_less, changed = Samples(IMAGES[1:], LABELS[1:]), IMAGES.clone()
    changed[0, 0, 0, 0] ^= 1
    others = [one_less, Samples(changed, LABELS), copied(2), copied(3)]
    others.append(Samples(IMAGES.view(5000, 1, 2, 8), LABELS))
    assert len({known, *map(digest_of, others)}) == 6


def test_a_digest_with_labels_is_of_names_of_classes() -> None:
    def of(samples: Samples) -> str:
        return label_digest(samples, image_hashes(samples))

    known = of(SAMPLES)
    assert of(shuffled(SAMPLES)) == known != ""
    assert of(Samples(IMAGES, 1 - LABELS, ("rare", "common"))) == known
    assert of(Samples(IMAGES, 1 - LABELS, ("common", "rare"))) != known
    assert of(Samples(IMAGES, LABELS, ("common", "seldom"))) != known
    assert of(Samples(IMAGES, 0 * LABELS)) == ""


def test_a_tenth_is_a_function_of_the_set() -> None:
    train, test = hold_out_tenth(SAMPLES)
    again, test_again = hold_out_tenth(shuffled(SAMPLES))
    assert (len(train), len(test)) == (4500, 500)
    assert contents(train.values) == contents(again.values)
    assert contents(test.values) == contents(test_again.values)
    assert 20 < test.labels.sum() < 80  # of 50
    assert contents(train.values) + contents(test.values) == contents(IMAGES)


@pytest.mark.parametrize("times", [2, 3, 5000])
def test_copies_are_on_one_side(times: int) -> None:
    values = torch.cat([copied(times).values, IMAGES[1:1000]])
    train, test = hold_out_tenth(Samples(values, torch.zeros(len(values), dtype=torch.int64)))
    assert not contents(train.values) & contents(test.values)
    assert len(values) // 10 - 1 <= len(test) <= len(values) // 10


def test_a_tenth_of_few_images_and_of_one_image() -> None:
    for n, held in ((1, 0), (9, 0), (10, 1), (19, 1), (20, 2), (39, 3)):
        train, test = hold_out_tenth(Samples(IMAGES[:n], LABELS[:n]))
        assert (len(train), len(test)) == (n - held, held)
    alike = Samples(IMAGES[:1].expand(100, -1, -1, -1), LABELS[:100])
    assert [len(part) for part in hold_out_tenth(alike)] == [100, 0]


def test_an_order_is_one_of_all() -> None:
    hashes = image_hashes(SAMPLES)
    assert content_order(hashes).sort().values.equal(torch.arange(5000))
    assert content_order([]).tolist() == []


def test_embedded_digits_in_the_shares_of_all() -> None:
    digits = load("mnist10k", Path(), "train")
    found = natural()
    shares = found.labels.bincount() / len(found) - torch.tensor(COUNTS) / 60_000
    assert len(found) == 8900 and sum(COUNTS) == 60_000 and shares.abs().max() < 1e-4
    assert not contents(found.values) - contents(digits.values)
