"""Protocols have names, fingerprints of every field, and are never mixed."""

import dataclasses
import hashlib
import json

import pytest

from ganatomy.evaluation.features import FEATURES
from ganatomy.evaluation.protocol import PROTOCOLS, Protocol, preset, require_same
from ganatomy.validation import from_dict

PUBLISHED = {
    "classifier-10k": "51b7dce2",
    "classifier-2k": "caea389a",
    "mlp-hinge-10k": "95c16b9c",
    "own-10k": "abbe5a92",
    "own-2k": "6e9c0ca4",
    "raw-10k": "b8392d78",
    "inception-10k": "716cab21",
    "inception-50k": "c6891934",
    "inception64-128": "c5cc7f48",
}
"""Fingerprints of presets before dataset and hashes are filled in. They never change."""

OTHER = {
    "features": "raw",
    "n": 17,
    "n_real": 100,
    "k": 3,
    "splits": 5,
    "split": "test",
    "dataset": "mnist",
    "mode": "train",
    "weights": "raw",
    "seed": 1,
    "resize": "299 x 299, bilinear as TensorFlow 1",
    "reference_sha256": "ab",
    "drawn_n": 100,
    "drawn_sha256": "bc",
    "held_out_sha256": "ef",
    "features_sha256": "cd",
}


def test_every_field_is_in_the_fingerprint() -> None:
    fields = {f.name for f in dataclasses.fields(Protocol)} - {
        "quantize",
        "preset",
    }  # has only one value; is not a setting
    assert fields == OTHER.keys()
    prints = {Protocol().replace(**{name: value}).fingerprint for name, value in OTHER.items()}
    assert len(prints | {Protocol().fingerprint}) == len(OTHER) + 1


def test_fingerprints_of_presets_do_not_change() -> None:
    assert {name: p.protocol.fingerprint for name, p in PROTOCOLS.items()} == PUBLISHED


@pytest.mark.parametrize("name", PROTOCOLS)
def test_presets_have_their_names_and_a_feature_space(name: str) -> None:
    protocol = preset(name)
    assert protocol.name == name and protocol.features in FEATURES
    filled = protocol.replace(dataset="mnist", features_sha256="ab", reference_sha256="cd")
    assert filled.name == name and filled.fingerprint != protocol.fingerprint
    assert protocol.replace(seed=7).name == f"{name}+seed=7"
    assert (protocol.resize == "none") != protocol.features.startswith("inception")


def test_a_protocol_keeps_the_name_of_its_preset() -> None:
    few = preset("classifier-2k").replace(n=300)
    assert few.name == "classifier-2k+n=300"
    assert few == preset("classifier-10k").replace(n=300) == Protocol(n=300)
    assert few.fingerprint == Protocol(n=300).fingerprint and "preset" not in few.settings
    assert Protocol(n=2048).name == "classifier-2k"


def test_rows_of_before_the_drawn_images_were_recorded_keep_their_fingerprint() -> None:
    settings = preset("raw-10k").replace(reference_sha256="ab").settings
    later = {"drawn_n", "drawn_sha256", "held_out_sha256"}
    text = json.dumps({k: v for k, v in settings.items() if k not in later}, sort_keys=True)
    known = hashlib.sha256(text.encode()).hexdigest()[:8]
    assert from_dict(Protocol, json.loads(text)).fingerprint == known


def test_rows_give_their_protocol_back() -> None:
    protocol = preset("inception64-128").replace(seed=3)
    assert from_dict(Protocol, protocol.settings) == protocol


def test_unlike_protocols_are_refused_with_both_fingerprints() -> None:
    one, two = preset("classifier-10k"), preset("classifier-10k").replace(n=500)
    require_same([("a", one), ("b", one)])
    with pytest.raises(ValueError) as error:
        require_same([("a", one), ("b", one), ("c", two)])
    for part in ("a was", "c by", one.fingerprint, two.fingerprint, "n: 10000 and 500"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"), [("n", 1), ("k", 0), ("mode", "test"), ("seed", -1), ("weights", "best")]
)
def test_bad_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Protocol(**{field: value})  # type: ignore[arg-type]


def test_unknown_presets_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown protocol 'klassifier-10k' .*classifier-10k"):
        preset("klassifier-10k")
