"""Train, measure, compare and diagnose GANs.

>>> import ganatomy as gan
>>> run = gan.train("mnist-fast", dataset="mnist10k", steps=2000)
>>> run.show(), run.evaluate(), run.diagnose()

Names are imported when they are first used: `import ganatomy` does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "train": "api.train",
    "resume": "api.train",
    "load": "api.train",
    "evaluate": "api.evaluate",
    "compare": "api.compare",
    "study": "api.study",
    "register_dataset": "api.registry",
    "register_model": "api.registry",
    "register_loss": "api.registry",
    "register_metric": "api.registry",
    "list_recipes": "api.registry",
    "list_datasets": "api.registry",
    "list_models": "api.registry",
    "list_losses": "api.registry",
    "list_metrics": "api.registry",
    "check_dataset": "api.registry",
    "check_model": "api.registry",
    "check_loss": "api.registry",
    "check_metric": "api.registry",
    "Recipe": "recipes.recipe",
    "RunOptions": "recipes.recipe",
    "Protocol": "evaluation.protocol",
    "Loss": "gan.losses",
    "State": "gan.step",
    "steps": "gan.step",
    "Run": "api.run",
    "Evaluation": "evaluation.evaluate",
    "Diagnosis": "evaluation.diagnose",
    "Interpolation": "evaluation.interpolate",
    "Page": "pages.page",
    "StudyResult": "studies.result",
}
"""Public name to the module that defines it."""

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ganatomy' has no attribute {name!r}")
    value = getattr(import_module(f"ganatomy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
