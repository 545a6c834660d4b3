"""Networks. To add one, write its build function and add a line to MODELS."""

from ganatomy.models import dcgan, mlp
from ganatomy.models.net import Build, Net

MODELS: dict[str, Build] = {
    "mlp": mlp.build,
    "dcgan": dcgan.build,
}

__all__ = ["MODELS", "Build", "Net"]
