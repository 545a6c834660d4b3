"""Networks. To add one, write its build function and add a line to MODELS."""

from ganatomy.models import dcgan, mlp, sagan
from ganatomy.models.net import Build, NetworkConfig, apply_spectral_norm, initialise

MODELS: dict[str, Build] = {
    "mlp": mlp.build,
    "dcgan": dcgan.build,
    "sagan": sagan.build,
}

__all__ = ["MODELS", "Build", "NetworkConfig", "apply_spectral_norm", "initialise"]
