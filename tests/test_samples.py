"""Images from Python become uint8 samples, or are refused with what was expected."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganatomy.data import samples
from ganatomy.data.given import as_samples
from ganatomy.data.samples import Samples, batch_indices, compact

RNG = torch.Generator().manual_seed(0)
GRAY = torch.randint(0, 256, (12, 1, 5, 7), dtype=torch.uint8, generator=RNG)
RGB = torch.randint(0, 256, (12, 3, 5, 7), dtype=torch.uint8, generator=RNG)
LABELS = torch.arange(12) % 3


class Pairs(Dataset[Any]):
    """Images with labels, as torchvision gives them."""

    classes = ("cat", "dog", "eel")

    def __init__(self, images: list[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.images[i], int(LABELS[i])


@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.float() / 255,
        lambda x: x.double() / 127.5 - 1,
        lambda x: (x.float() / 255).requires_grad_(),
        lambda x: x.half() / 255,
        lambda x: x.float() / 255 - 1e-6,
        lambda x: x.long(),
        lambda x: x.numpy(),
        lambda x: x.permute(0, 2, 3, 1).numpy(),
        lambda x: x.permute(0, 2, 3, 1).numpy()[::-1][::-1] / 255,
        lambda x: x.numpy().astype(np.int16),
        lambda x: TensorDataset(x),
        lambda x: list(x),
        lambda x: [image.float() / 127.5 - 1 for image in x],
        lambda x: [Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()) for image in x],
        lambda x: Samples(x, LABELS),
    ],
)
def test_every_form_gives_the_same_pixels(pixels: Tensor, form: Any) -> None:
    made = as_samples(form(pixels))
    assert made.values.dtype == torch.uint8 and torch.equal(made.values, pixels)
    assert len(made.labels) == len(pixels)


def test_gray_images_may_leave_their_channel_out() -> None:
    for form in (GRAY[:, 0], GRAY[:, 0].numpy(), list(GRAY[:, 0]), list(GRAY[:, 0].numpy())):
        assert torch.equal(as_samples(form).values, GRAY)


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (Pairs(list(GRAY)), Pairs.classes),
        (TensorDataset(GRAY, LABELS), ("0", "1", "2")),
        ([(image.numpy(), np.int64(i % 3)) for i, image in enumerate(GRAY)], ("0", "1", "2")),
    ],
)
def test_labels_are_kept(data: Any, classes: tuple[str, ...]) -> None:
    made = as_samples(data)
    assert torch.equal(made.labels, LABELS) and made.classes == classes
    assert torch.equal(made.values, GRAY)


class Stream(IterableDataset[Tensor]):
    """Images without a length."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(GRAY)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.full((2, 1, 4, 4), torch.nan), "holds NaN .32 values are not finite.; leave"),
        (
            torch.tensor([0.0, torch.inf]).view(2, 1, 1, 1),
            "holds infinity .1 values are not finite.",
        ),
        (GRAY.float(), r"got \[0, 25\d\]; scale them, or give uint8"),
        (GRAY.float() / 255 * 3 - 1.5, "scale them"),
        (GRAY > 9, "uint8 or floats, got torch.bool"),
        (GRAY.long() - 1, r"integers up to 255, got \[-1, "),
        (GRAY.long() * 2, "integers up to 255, got"),
        (GRAY.long() // 255, r"integers up to 255, got \[0, 1\]"),
        (GRAY[0, 0], r"expected images \(N, 1 or 3, H, W\), got \(5, 7\)"),
        (GRAY.flatten(1), r"got \(12, 35\); permute or reshape"),
        (GRAY.permute(0, 2, 3, 1), r"got \(12, 5, 7, 1\); permute"),
        (GRAY.expand(-1, 4, -1, -1), r"got \(12, 4, 5, 7\)"),
        (GRAY[:0], "got .0, 1, 5, 7."),
        (RGB.numpy()[:, :, :, :3], "first or last"),
        (np.array([["a"]]), "array of numbers, got <U1"),
        ([], "of one type and size, got none"),
        ([GRAY[0], RGB[0]], r"one type and size, got .*\(1, 5, 7\) and .*\(3, 5, 7\)"),
        ([GRAY[0], GRAY[0].float() / 255], "one type and size, got torch.uint8 .* torch.float32"),
        ([(GRAY[0], 0), GRAY[0]], "a label of 0 or more with each image"),
        ([(GRAY[0], -1)], "a label of 0 or more"),
        ([(GRAY[0], 0.5)], "an integer as label, got 0.5"),
        ([(GRAY[0], 0, 1)], r"a pair \(image, label\), got a tuple"),
        ([{"image": GRAY[0]}], "got a dict"),
        ([Image.new("RGBA", (4, 4))], 'got RGBA; use .convert."RGB"'),
        (Stream(), "a Dataset with a length or a list, got a Stream"),
        ("images", "got a str"),
        (None, "got a NoneType"),
    ],
)
def test_others_are_refused_in_one_line(images: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        as_samples(images)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ids", "names", "classes"),
    [
        ([1, 20_001, 1], (), ("1", "20001")),
        ([0, 999, 0], (), ("0", "999")),
        ([2**62, 5, 5], (), ("5", str(2**62))),
        ([2, 0, 2], ("cat", "dog", "eel"), ("cat", "eel")),
        ([3, 0, 3], ("cat", "dog", "eel"), ("0", "3")),
        ([10, 9, 2], (), ("2", "9", "10")),
    ],
)
def test_classes_are_those_that_have_images(
    ids: list[int], names: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    labels, found = compact(torch.tensor(ids), names)
    assert found == classes and labels.max() < len(classes)
    assert [classes[i] for i in labels] == [names[i] if "eel" in found else str(i) for i in ids]
    made = as_samples(TensorDataset(GRAY[:3], torch.tensor(ids)))
    assert made.classes == compact(torch.tensor(ids))[1]


def test_many_identities_are_as_many_classes() -> None:
    labels, classes = compact(torch.arange(21_000) // 2 * 7)
    assert len(classes) == 10_500 and classes[-1] == str(7 * 10_499)
    assert torch.equal(labels, torch.arange(21_000) // 2)


def test_orders_are_kept_for_every_seed_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    randperm = torch.randperm

    def counted(n: int, **how: Any) -> Tensor:
        drawn.append(n)
        return randperm(n, **how)

    monkeypatch.setattr(torch, "randperm", counted)
    monkeypatch.setattr(samples, "_orders", OrderedDict())
    for k in range(30):  # 20 images, batches of 3: four and a half epochs, some batches in two
        for seed in range(8):
            batch_indices(20, 3, seed, k)
    assert len(drawn) == 8 * 5
    assert all(len(kept) == 2 for kept in samples._orders.values())


@pytest.mark.parametrize("most", [0, 8 * 20, 5 * 8 * 20])
def test_memory_of_orders_is_bounded(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [batch_indices(20, 3, seed, k) for k in range(14) for seed in range(8)]
    monkeypatch.setattr(samples, "ORDERS", most)
    monkeypatch.setattr(samples, "_orders", OrderedDict())
    found = []
    for k in range(14):
        for seed in range(8):
            found.append(batch_indices(20, 3, seed, k))
            held = samples._bytes_of_orders()
            assert held <= max(most, 2 * 8 * 20)  # those of one seed are always kept
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
