"""Feature spaces: every one is what it says, and Inception is Inception or says what is wanted."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganatomy.data import load
from ganatomy.evaluation import classifier
from ganatomy.evaluation.features import FEATURES, INCEPTION_FILE, INCEPTION_SHA256, FeatureRequest

DIGITS = load("mnist10k", Path(), "train").values[:40]
CPU = torch.device("cpu")
FIXED = [name for name in FEATURES if not name.startswith(("inception", "rotation"))]
MNIST = FeatureRequest(data="mnist", digest=classifier.MNIST, shape=(1, 28, 28), device=CPU)


@pytest.mark.parametrize("name", FIXED)
def test_spaces_see_each_image_by_itself(name: str) -> None:
    space = FEATURES[name].load(MNIST)
    features, logits = space.extract(DIGITS)
    assert features.shape == (40, space.dim) and features.dtype == torch.float32
    assert (logits is None) == (space.classifier is None)
    torch.testing.assert_close(space.extract(DIGITS[7:9])[0], features[7:9], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FIXED)
def test_spaces_see_the_same_on_a_gpu(name: str) -> None:
    here, there = (
        FEATURES[name].load(replace(MNIST, device=torch.device(d))).extract(DIGITS)
        for d in ("cpu", "cuda")
    )
    assert there[0].device.type == "cpu"
    torch.testing.assert_close(here[0], there[0], rtol=1e-3, atol=1e-3)


def test_raw_is_pixels() -> None:
    features, _ = FEATURES["raw"].load(MNIST).extract(DIGITS)
    assert torch.equal((features * 255).round().to(torch.uint8).view_as(DIGITS), DIGITS)


def test_without_weights_one_line_says_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    with pytest.raises(ValueError) as error:
        FEATURES["inception-2048"].load(MNIST)
    said = str(error.value)
    wanted = (INCEPTION_FILE, INCEPTION_SHA256, str(tmp_path), "--inception-weights", "github.com")
    assert all(part in said for part in wanted) and "\n" not in said


def test_weights_that_are_not_inceptions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"x": torch.zeros(3)}, file)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    wanted = replace(MNIST, inception_weights=file)
    with pytest.raises(ValueError, match=rf"sha256 {found}, not the {INCEPTION_SHA256}.*--force"):
        FEATURES["inception-64"].load(wanted)
    with pytest.raises(ValueError, match=r"does not hold Inception's weights"):
        FEATURES["inception-64"].load(replace(wanted, force=True))
    with pytest.raises(ValueError, match=r"there is no .*none\.pth"):
        FEATURES["inception-64"].load(replace(wanted, inception_weights=tmp_path / "none.pth"))


class Trap:
    """Code that a careless reader of weights would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_weights_run_no_code(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"x": Trap(tmp_path / "ran")}, file)
    with pytest.raises(ValueError, match="does not hold"):
        FEATURES["inception-64"].load(replace(MNIST, inception_weights=file, force=True))
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["64", "192", "768", "2048", "logits"])
def test_inception_is_torch_fidelitys(layer: str, inception: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    wanted = replace(MNIST, inception_weights=inception, force=True)
    space = FEATURES[f"inception-{layer}"].load(wanted)
    theirs = "logits_unbiased" if layer == "logits" else layer
    net = FeatureExtractorInceptionV3("x", [theirs], str(inception))
    seen: Tensor = net(DIGITS.repeat(1, 3, 1, 1))[0]
    features, logits = space.extract(DIGITS)
    assert space.dim == features.shape[1] and torch.allclose(features, seen, rtol=1e-4, atol=1e-5)
    assert (logits is not None) == (layer in ("2048", "logits"))
