"""Protocol: how a number was measured, with a name for people and a fingerprint for comparisons.

Numbers of unlike fingerprints are never compared. Readable without torch. To add a preset, add a
line to PROTOCOLS.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ganatomy.validation import check, lookup, to_dict

Mode = Literal["eval", "train", "reestimated", "given"]
Weights = Literal["ema", "raw", "given"]

_LIMITS: dict[str, tuple[float, float]] = {
    "n": (2, 10_000_000),
    "n_real": (2, 10_000_000),
    "k": (1, 1000),
    "splits": (1, 1000),
    "seed": (0, 2**62),
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All that a measured value depends on but the images themselves."""

    features: str = "classifier"
    """feature space, see FEATURES"""
    n: int = 10_000
    """generated images"""
    n_real: int | None = None
    """real images, evenly over the classes; None means the whole split for the Fréchet distance
    and 10,000 of it for the other measures"""
    k: int = 5
    """neighbours, for precision, recall, density and coverage"""
    splits: int = 10
    """parts that the inception or classifier score is averaged over"""
    split: Literal["train", "test"] = "train"
    """of the reference dataset"""
    dataset: str = ""
    """whose images are the reference"""
    mode: Mode = "eval"
    """batch norm and dropout of the generator: as for use, as in training, or with statistics
    estimated anew; given: the images were made elsewhere"""
    weights: Weights = "ema"
    """the averaged generator (the generator itself if its recipe does not average), or the raw"""
    seed: int = 0
    """of the latent vectors, and of bootstraps and subsets"""
    quantise: Literal["round to uint8"] = "round to uint8"
    """what is done to the generator's values before anything looks at them"""
    resize: Literal[
        "none",
        "to the classifier's shape, bilinear as Pillow",
        "299 x 299, bilinear as TensorFlow 1",
    ] = "none"
    """what is done to images before the feature space sees them"""
    reference_sha256: str = ""
    """of the reference images' pixels"""
    features_sha256: str = ""
    """of the feature space's weights"""

    def __post_init__(self) -> None:
        check(self, _LIMITS)

    def replace(self, **changes: Any) -> "Protocol":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def settings(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return to_dict(self)

    @property
    def fingerprint(self) -> str:
        """Eight characters that stand for every field."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """The preset this is, and which of its settings were changed."""
        settings = to_dict(self)
        changes = {
            name: {k: settings[k] for k in _SETTINGS if settings[k] != to_dict(preset)[k]}
            for name, (_, preset) in PROTOCOLS.items()
        }
        name, fewest = min(changes.items(), key=lambda item: len(item[1]))
        return "+".join([name, *(f"{k}={v}" for k, v in fewest.items())])


_SETTINGS = ("features", "n", "n_real", "k", "splits", "split", "mode", "weights", "seed")

_INCEPTION = Protocol(features="inception-2048", resize="299 x 299, bilinear as TensorFlow 1")

PROTOCOLS: dict[str, tuple[str, Protocol]] = {
    "classifier-10k": (
        "10,000 samples seen by the dataset's own classifier; the default",
        Protocol(),
    ),
    "classifier-2k": ("2,048 samples: quick, for watching a training", Protocol(n=2048)),
    "mlp-hinge-10k": (
        "as classifier-10k, by R3.4's classifier",
        Protocol(features="classifier-mlp-hinge"),
    ),
    "raw-10k": ("10,000 samples as bare pixels", Protocol(features="raw")),
    "inception-10k": ("FID on 10,000 samples", _INCEPTION),
    "inception-50k": (
        "FID on 50,000 samples, as most papers have it",
        _INCEPTION.replace(n=50_000),
    ),
    "r1-64f-128": (
        "R1.8: 128 samples against 128 images in 64 features; not FID as the field means it",
        _INCEPTION.replace(features="inception-64", n=128, n_real=128),
    ),
}
"""name -> (one line, preset, whose dataset and hashes are filled in when it is used)"""


def preset(name: str) -> Protocol:
    """Return a preset.

    Raises:
        ValueError: if there is none of that name, saying which is nearest.
    """
    return lookup(PROTOCOLS, name, "protocol")[1]


def require_same(measured: Iterable[tuple[str, Protocol]]) -> None:
    """See that things were measured alike.

    Args:
        measured: what each of them is called, and its protocol.

    Raises:
        ValueError: if not, with both fingerprints and the fields in which they differ.
    """
    (first, ours), *others = measured
    for other, theirs in others:
        if theirs.fingerprint != ours.fingerprint:
            raise ValueError(
                f"{first} was measured by {ours.name} [{ours.fingerprint}] and {other} by "
                f"{theirs.name} [{theirs.fingerprint}] ({differences(ours, theirs)}); such numbers "
                "cannot be compared: evaluate both with one --protocol"
            )


def differences(ours: Protocol, theirs: Protocol) -> str:
    """Say in which fields two protocols differ."""
    a, b = to_dict(ours), to_dict(theirs)
    return "; ".join(f"{k}: {str(a[k])[:12]} and {str(b[k])[:12]}" for k in a if a[k] != b[k])
