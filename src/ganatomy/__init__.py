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
    "compare": "api.evaluate",
    "study": "studies.run",
    "register_dataset": "data",
    "register_model": "models",
    "register_loss": "gan.check",
    "register_metric": "evaluation.metrics",
    "list_recipes": "api.lists",
    "list_datasets": "api.lists",
    "list_models": "api.lists",
    "list_losses": "api.lists",
    "list_metrics": "api.lists",
    "check_dataset": "data",
    "check_model": "models",
    "check_loss": "gan.check",
    "check_metric": "evaluation.metrics",
    "Recipe": "recipes.recipe",
    "RunOptions": "recipes.recipe",
    "Protocol": "evaluation.protocol",
    "Loss": "gan.losses",
    "State": "gan.step",
    "steps": "gan.step",
    "Run": "api.run",
    "Evaluation": "evaluation.result",
    "Diagnosis": "evaluation.diagnose",
    "Interpolation": "runs.sampling",
    "ClassCounts": "evaluation.class_counts",
    "Page": "pages.page",
    "StudyResult": "studies.verdict",
}
"""Public name to the module that defines it; study is run_study there."""

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ganatomy' has no attribute {name!r}")
    home = import_module(f"ganatomy.{_HOME[name]}")
    value = home.run_study if name == "study" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
