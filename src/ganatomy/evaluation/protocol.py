"""Protocols: all settings that a measured value depends on, with a name and a fingerprint.

Values of different fingerprints are never compared. Readable without torch. To add a preset, add an
entry to PROTOCOLS.
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
    "drawn_n": (0, 10_000_000),
    "k": (1, 1000),
    "splits": (1, 1000),
    "seed": (0, 2**62),
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that a measured value depends on, except for the generated images.

    Raises:
        ValueError: for a value of the wrong type or range.
    """

    features: str = "classifier"
    """name of the feature space, see FEATURES"""
    n: int = 10_000
    """number of generated images, at least 2"""
    n_real: int | None = None
    """number of real images, drawn at random, at least 2; None means the whole split for the
    Fréchet distance, and up to 10,000 images of it for the other metrics"""
    k: int = 5
    """number of neighbors for precision, recall, density and coverage, at least 1"""
    splits: int = 10
    """number of splits that the inception or classifier score is averaged over, at least 1"""
    split: Literal["train", "test"] = "train"
    """split of the reference dataset"""
    dataset: str = ""
    """name of the reference dataset; empty before it is known"""
    mode: Mode = "eval"
    """batch norm and dropout of the generator: in eval or train mode, or in eval mode with
    reestimated batch norm statistics; given means images that do not come from a run"""
    weights: Weights = "ema"
    """averaged weights of the generator (raw ones if the recipe does not average), or raw weights;
    given as in mode"""
    seed: int = 0
    """seed of the latent vectors, of bootstraps and of subsets, at least 0"""
    quantize: Literal["round to uint8"] = "round to uint8"
    """conversion of the generator's output to pixels"""
    resize: Literal[
        "none",
        "to the classifier's shape, bilinear as Pillow",
        "299 x 299, bilinear as TensorFlow 1",
    ] = "none"
    """resizing of images for the feature space"""
    reference_sha256: str = ""
    """digest of the real images of the Fréchet distance (see data.content.set_digest); empty before
    they are known"""
    drawn_n: int = 0
    """number of real images of the other metrics; 0 before it is known"""
    drawn_sha256: str = ""
    """digest of these images"""
    held_out_sha256: str = ""
    """digest of the held-out real images; empty if there are none, or if their features are in the
    file that features_sha256 is the sum of"""
    features_sha256: str = ""
    """sha256 of the weights of the feature space; empty before they are known"""
    preset: str = field(default="", compare=False)
    """name of the preset that the protocol comes from; not a setting"""

    def __post_init__(self) -> None:
        check(self, _LIMITS)

    def replace(self, **changes: Any) -> "Protocol":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, as JSON holds them."""
        return {name: value for name, value in to_dict(self).items() if name != "preset"}

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the sha256 of all settings.

        Settings that the first protocols did not have count only if they are not empty.
        """
        known = {k: v for k, v in self.settings.items() if v or k not in _LATER}
        text = json.dumps(known, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of its preset, or else of the nearest, and the settings that differ from it."""
        known = {self.preset} & PROTOCOLS.keys() or PROTOCOLS
        ours = self.settings
        changes: dict[str, list[str]] = {}
        for name in known:
            theirs = PROTOCOLS[name].protocol.settings
            changes[name] = [f"{k}={ours[k]}" for k in _SETTINGS if ours[k] != theirs[k]]
        nearest = min(changes, key=lambda name: len(changes[name]))
        return "+".join([nearest, *changes[nearest]])


_LATER = ("drawn_n", "drawn_sha256", "held_out_sha256")

_SETTINGS = ("features", "n", "n_real", "k", "splits", "split", "mode", "weights", "seed")

_INCEPTION = Protocol(features="inception-2048", resize="299 x 299, bilinear as TensorFlow 1")


@dataclass(frozen=True)
class Preset:
    """A protocol with a description."""

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
    "own-10k": Preset(
        Protocol(features="rotation"),
        "as classifier-10k, in the features of a network that needs no classes; the default for "
        "images without classes",
    ),
    "own-2k": Preset(
        Protocol(features="rotation", n=2048), "2,048 samples: quick, for images without classes"
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
        ValueError: for an unknown name, with the nearest.
    """
    return lookup(PROTOCOLS, name, "protocol").protocol.replace(preset=name)


def without_classes(protocol: Protocol, data: str) -> Protocol:
    """Return the protocol that measures images without classes as this one measures others.

    Raises:
        ValueError: if it cannot do without classes.
    """
    if not protocol.features.startswith("classifier"):
        return protocol
    if protocol.features != "classifier":
        raise ValueError(
            f"the features {protocol.features} need classes, but {data} has none; use --protocol "
            "own-10k"
        )
    own = protocol.preset.replace("classifier", "own")
    return protocol.replace(features="rotation", preset=own)


def require_same(measured: Iterable[tuple[str, Protocol]]) -> None:
    """Check that all protocols have one fingerprint.

    Args:
        measured: name and protocol of each thing that is compared.

    Raises:
        ValueError: if not, with both fingerprints and the settings that differ.
    """
    (first, ours), *others = measured
    for other, theirs in others:
        if theirs.fingerprint != ours.fingerprint:
            raise ValueError(
                f"{first} was measured by {ours.name} [{ours.fingerprint}] and {other} by "
                f"{theirs.name} [{theirs.fingerprint}] ({differences(ours, theirs)}), so their "
                "values cannot be compared; evaluate both with one --protocol"
            )


def differences(ours: Protocol, theirs: Protocol) -> str:
    """Return the settings in which two protocols differ."""
    a, b = ours.settings, theirs.settings
    return "; ".join(f"{k}: {str(a[k])[:12]} and {str(b[k])[:12]}" for k in a if a[k] != b[k])
