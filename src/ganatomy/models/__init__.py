"""Pairs of networks. To add one, write its build function and add an entry to MODELS."""

from dataclasses import replace

from ganatomy.models import dcgan, mlp, sagan
from ganatomy.models.check import Shape, check_model
from ganatomy.models.net import (
    Build,
    Model,
    NetworkConfig,
    apply_spectral_norm,
    as_model,
    initialize,
)
from ganatomy.validation import register, resolve

MODELS: dict[str, Model] = {
    "mlp": mlp.MLP,
    "dcgan": dcgan.DCGAN,
    "sagan": sagan.SAGAN,
}


def find_model(name: str) -> Model:
    """Return a model by its name in MODELS or by an importable name, package.module:object.

    The object is a Model, or one of the functions that as_model takes.

    Raises:
        ValueError: for an unknown model.
    """
    return resolve(MODELS, name, "model", as_model)


def register_model(name: str, part: object, about: str = "", shape: Shape | None = None) -> None:
    """Add a pair of networks to MODELS, once check_model accepts it.

    Args:
        name: name that recipes use.
        part: a Model, or a function that as_model takes.
        about: one line of description; empty keeps the part's own.
        shape: shape of the samples to check it with, for networks of one shape; see check_model.

    Raises:
        ValueError: if the name is taken, or as check_model does.
    """
    model = as_model(part)
    model = replace(model, about=about or model.about)
    register(MODELS, name, model, "model", lambda part: check_model(part, shape))


__all__ = [
    "MODELS",
    "Build",
    "Model",
    "NetworkConfig",
    "apply_spectral_norm",
    "check_model",
    "find_model",
    "initialize",
    "register_model",
]
