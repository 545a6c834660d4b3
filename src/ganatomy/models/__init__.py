"""Pairs of networks. To add one, write its build function and add an entry to MODELS."""

from ganatomy.models import dcgan, mlp, sagan
from ganatomy.models.net import (
    Build,
    Model,
    NetworkConfig,
    apply_spectral_norm,
    as_model,
    initialise,
)
from ganatomy.validation import resolve

MODELS: dict[str, Model] = {"mlp": mlp.MLP, "dcgan": dcgan.DCGAN, "sagan": sagan.SAGAN}


def find_model(name: str) -> Model:
    """Return a model by its name in MODELS or by an importable name, package.module:object.

    The object is a Model, or one of the functions that as_model takes.

    Raises:
        ValueError: if there is no such model.
    """
    return resolve(MODELS, name, "model", as_model)


__all__ = [
    "MODELS",
    "Build",
    "Model",
    "NetworkConfig",
    "apply_spectral_norm",
    "find_model",
    "initialise",
]
