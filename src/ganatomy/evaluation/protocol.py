"""Protocol: how a number was measured, with a name for people and a fingerprint for comparisons.

Numbers of unlike fingerprints are never compared. Readable without torch. To add a preset, add a
line to PROTOCOLS.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """neighbors, for precision, recall, density and coverage"""
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
    preset: str = field(default="", compare=False)
    """name of the preset that it comes from; no setting"""

    def __post_init__(self) -> None:
        check(self, _LIMITS)

    def replace(self, **changes: Any) -> "Protocol":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, as JSON holds it."""
        return {name: value for name, value in to_dict(self).items() if name != "preset"}

    @property
    def fingerprint(self) -> str:
        """Eight characters that stand for every setting."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """The preset that it comes from, or else the nearest, and the settings that differ."""
        known = {self.preset} & PROTOCOLS.keys() or PROTOCOLS
        ours = self.settings
        changes: dict[str, list[str]] = {}
        for name in known:
            theirs = PROTOCOLS[name].protocol.settings
            changes[name] = [f"{k}={ours[k]}" for k in _SETTINGS if ours[k] != theirs[k]]
        nearest = min(changes, key=lambda name: len(changes[name]))
        return "+".join([nearest, *changes[nearest]])


_SETTINGS = ("features", "n", "n_real", "k", "splits", "split", "mode", "weights", "seed")

_INCEPTION = Protocol(features="inception-2048", resize="299 x 299, bilinear as TensorFlow 1")


@dataclass(frozen=True)
class Preset:
    """A protocol with a name."""

    protocol: Protocol
    """settings, whose dataset and hashes are filled in by the reference"""
    about: str
    """one line of description"""


PROTOCOLS: dict[str, Preset] = {
    "classifier-10k": Preset(
        Protocol(), "10,000 samples in the features of the dataset's own classifier; the default"
    ),
    "classifier-2k": Preset(Protocol(n=2048), "2,048 samples: quick, to measure during training"),
    "mlp-hinge-10k": Preset(
        Protocol(features="classifier-mlp-hinge"),
        "as classifier-10k, in the features of a fully connected classifier with hinge loss",
    ),
    "raw-10k": Preset(Protocol(features="raw"), "10,000 samples as bare pixels"),
    "inception-10k": Preset(_INCEPTION, "FID on 10,000 samples"),
    "inception-50k": Preset(
        _INCEPTION.replace(n=50_000), "FID on 50,000 samples, as in most papers"
    ),
    "inception64-128": Preset(
        _INCEPTION.replace(features="inception-64", n=128, n_real=128),
        "128 samples against 128 images in 64 Inception features; not comparable with FID",
    ),
}
"""name -> preset"""


def preset(name: str) -> Protocol:
    """Return the protocol of a preset.

    Raises:
        ValueError: if there is none of that name, with the nearest.
    """
    return lookup(PROTOCOLS, name, "protocol").protocol.replace(preset=name)


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
    a, b = ours.settings, theirs.settings
    return "; ".join(f"{k}: {str(a[k])[:12]} and {str(b[k])[:12]}" for k in a if a[k] != b[k])
