"""list_*: names of the registered parts."""

from collections.abc import Iterable
from fnmatch import fnmatch


def list_recipes(pattern: str = "*") -> list[str]:
    """Return the names of recipes that match a pattern, such as "*-cifar10"."""
    from ganatomy.recipes.named import RECIPES

    return _matching(RECIPES, pattern)


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the names of datasets that match a pattern."""
    from ganatomy.data import DATASETS

    return _matching(DATASETS, pattern)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of models, pairs of networks, that match a pattern."""
    from ganatomy.models import MODELS

    return _matching(MODELS, pattern)


def list_losses(pattern: str = "*") -> list[str]:
    """Return the names of losses that match a pattern."""
    from ganatomy.gan.losses import LOSSES

    return _matching(LOSSES, pattern)


def list_metrics(pattern: str = "*") -> list[str]:
    """Return the names of measured values that match a pattern."""
    from ganatomy.evaluation.metrics import METRICS

    return _matching([name for metric in METRICS.values() for name in metric.values], pattern)


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    return [name for name in names if fnmatch(name, pattern)]
