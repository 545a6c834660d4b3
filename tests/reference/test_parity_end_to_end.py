"""From files of images to numbers, ganatomy and torch-fidelity's own command agree.

Inception's weights are drawn at random, as the true ones cannot be had offline: the same network,
the same resizing and the same arithmetic are proved, not the value that the field would quote.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Call
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from ganatomy.data import load
from ganatomy.data.folder import load_images
from ganatomy.evaluation import classifier, evaluate
from ganatomy.evaluation.features import FEATURES, INCEPTION_SHA256, FeatureRequest
from ganatomy.evaluation.metrics import METRICS, Comparison, Extracted, moments
from ganatomy.evaluation.protocol import preset
from ganatomy.evaluation.reference import EvalOptions, reference
from ganatomy.figures.images import png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:n = ", "ignore:a distance of 64", "ignore:This DataLoader"),
]

N = 120
"""Of fakes and of reals, few because Inception is slow here."""

WITHIN = {"64": 1e-6, "2048": 1e-4}
"""Relative, by layer. With fewer images than features, covariances are singular: torch-fidelity
sums the roots of eigenvalues that are all rounding, and takes means in float32."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Negatives of four classes as fakes, and real digits in a folder with train and test."""
    root, digits = tmp_path_factory.mktemp("images"), load("mnist10k", Path(), "train")
    fakes = 255 - digits.values[digits.labels < 4][1000 : 1000 + N]
    for name, digits_of in (
        ("fake", fakes),
        ("real/train", digits.values[-N:]),
        ("real/test", digits.values[:20]),
    ):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(digits_of):  # in color, as torch-fidelity wants them
            (root / name / f"{i:04}.png").write_bytes(png(image.expand(3, -1, -1)))
    return root / "fake", root / "real"


NAMES = {
    "fd": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "precision": "precision",
    "recall": "recall",
    "score": "inception_score_mean",
}
"""Of our values at torch-fidelity."""


def theirs(folders: tuple[Path, Path], weights: Path, layer: str) -> dict[str, float]:
    """What torch-fidelity's command says of the two folders."""
    command = [str(Path(sys.executable).parent / "fidelity"), "--cpu", "--json", "--silent"]
    command += ["--input1", str(folders[0]), "--input2", str(folders[1] / "train"), "--no-cache"]
    command += ["--feature-extractor", "inception-v3-compat", "--batch-size", "50"]
    command += ["--feature-extractor-weights-path", str(weights), "--rng-seed", "0"]
    command += ["--fid", "--kid", "--prc", "--kid-subset-size", str(N), "--prc-neighborhood", "5"]
    for metric in ("fid", "kid", "prc"):
        command += [f"--feature-layer-{metric}", layer]
    command += ["--isc"] if layer == "2048" else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("layer", ["64", "2048"])
def test_files_to_numbers(folders: tuple[Path, Path], inception: Path, layer: str) -> None:
    expected = theirs(folders, inception, layer)
    protocol = preset("inception-10k").replace(features=f"inception-{layer}", n=N)
    place = EvalOptions(Path(), inception_weights=inception, force=True)
    ref = reference(protocol, str(folders[1]), place)
    fakes = load_images(folders[0]).values
    metrics = ("fd", "kid", "prdc") + (("score",) if layer == "2048" else ())
    row = evaluate.evaluate(fakes, ref, metrics, force=True)
    found = dict(row)
    for ours in found.keys() & NAMES.keys():
        name = NAMES[ours]
        assert found[ours] == pytest.approx(expected[name], rel=WITHIN[layer]), ours
    assert row.title("fd") == "FD"  # as these are not the weights of the field
    official = row.replace(protocol=row.protocol.replace(features_sha256=INCEPTION_SHA256))
    assert official.title("fd") == ("FID" if layer == "2048" else "FD")


def test_the_command_itself(call: Call, folders: tuple[Path, Path], inception: Path) -> None:
    """The protocol inception64-128 on the command line: its number, and the warning."""
    options = ("--protocol", "inception64-128", "--inception-weights", inception, "--force")
    code, _, complaint = call("evaluate", folders[0], "--real", folders[1], *options)
    assert code == 2 and f"--n {N}" in complaint
    code, said, _ = call(
        "evaluate",
        folders[0],
        "--real",
        folders[1],
        *options,
        "--n",
        N,
        "--metrics",
        "fd",
        "--json",
    )
    row = json.loads(said)["rows"][0]
    assert code == 0 and any("not comparable with FID" in w for w in row["warnings"])
    expected = theirs(folders, inception, "64")["frechet_inception_distance"]
    assert row["values"]["fd"]["value"] == pytest.approx(expected, rel=1e-6)


class Logits(FeatureExtractorBase):  # type: ignore[misc]
    """The MNIST classifier as torch-fidelity wants a feature extractor to be."""

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.net = classifier.shipped("conv").net

    @staticmethod
    def get_provided_features_list() -> tuple[str, str]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        seen = dict(zip(("features", "logits"), classifier.extract(self.net, pixels), strict=True))
        return tuple(seen[name] for name in self.features_list)


def test_the_same_images_and_extractor_in_both() -> None:
    digits = load("mnist10k", Path(), "train").values
    noise = torch.randint(-90, 90, digits[:3000].shape, generator=torch.Generator().manual_seed(0))
    fakes, real = (digits[:3000] + noise).clamp(0, 255).to(torch.uint8), digits[4000:]
    register_feature_extractor("logits", Logits)
    expected = calculate_metrics(
        input1=TensorDataset(fakes),
        input2=TensorDataset(real),
        feature_extractor="logits",
        **{name: True for name in ("fid", "kid", "isc", "prc")},
        prc_neighborhood=5,
        rng_seed=0,
        batch_size=classifier.CHUNK,
        cuda=False,
        cache=False,
        verbose=False,
    )
    space = FEATURES["classifier"].load(
        FeatureRequest(data="mnist", digest=classifier.MNIST, shape=(1, 28, 28))
    )
    seen, seen_real = Extracted(*space.extract(fakes)), Extracted(*space.extract(real))
    found = Comparison(fake=seen, real=seen_real, moments=moments(seen_real.features))
    values: dict[str, float] = {}
    for metric in ("fd", "kid", "score", "prdc"):
        values |= {name: e.value for name, e in METRICS[metric].measure(found).items()}
    for ours, name in NAMES.items():
        assert values[ours] == pytest.approx(expected[name], rel=1e-6), ours


class TensorDataset(Dataset[Tensor]):
    """Images in memory."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]
