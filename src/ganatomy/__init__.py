"""Train, measure, compare and diagnose GANs.

>>> import ganatomy as gan
>>> run = gan.train("mnist-fast", dataset="mnist10k", steps=2000)
>>> run.show(), run.evaluate(), run.diagnose()

Names are imported when they are first used: `import ganatomy` does not import torch.
"""

from importlib import import_module

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from ganatomy.api.evaluate import compare as compare
    from ganatomy.api.evaluate import evaluate as evaluate
    from ganatomy.api.lists import list_datasets as list_datasets
    from ganatomy.api.lists import list_losses as list_losses
    from ganatomy.api.lists import list_metrics as list_metrics
    from ganatomy.api.lists import list_models as list_models
    from ganatomy.api.lists import list_recipes as list_recipes
    from ganatomy.api.run import Run as Run
    from ganatomy.api.train import load as load
    from ganatomy.api.train import resume as resume
    from ganatomy.api.train import train as train
    from ganatomy.api.train import train_many as train_many
    from ganatomy.data import check_dataset as check_dataset
    from ganatomy.data import register_dataset as register_dataset
    from ganatomy.evaluation.class_counts import ClassCounts as ClassCounts
    from ganatomy.evaluation.diagnose import Diagnosis as Diagnosis
    from ganatomy.evaluation.metrics import check_metric as check_metric
    from ganatomy.evaluation.metrics import register_metric as register_metric
    from ganatomy.evaluation.protocol import Protocol as Protocol
    from ganatomy.evaluation.result import Evaluation as Evaluation
    from ganatomy.gan.check import check_loss as check_loss
    from ganatomy.gan.check import register_loss as register_loss
    from ganatomy.gan.losses import Loss as Loss
    from ganatomy.gan.state import State as State
    from ganatomy.gan.step import steps as steps
    from ganatomy.models import check_model as check_model
    from ganatomy.models import register_model as register_model
    from ganatomy.pages.page import Page as Page
    from ganatomy.recipes.recipe import Recipe as Recipe
    from ganatomy.recipes.recipe import RunOptions as RunOptions
    from ganatomy.runs.sampling import Interpolation as Interpolation
    from ganatomy.studies.result import StudyResult as StudyResult
    from ganatomy.studies.run import run_study as study  # noqa: F401
    from ganatomy.studies.sweep import study_all as study_all

_HOME = {
    "train": "api.train",
    "train_many": "api.train",
    "resume": "api.train",
    "load": "api.train",
    "evaluate": "api.evaluate",
    "compare": "api.evaluate",
    "study": "studies.run",
    "study_all": "studies.sweep",
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
    "State": "gan.state",
    "steps": "gan.step",
    "Run": "api.run",
    "Evaluation": "evaluation.result",
    "Diagnosis": "evaluation.diagnose",
    "Interpolation": "runs.sampling",
    "ClassCounts": "evaluation.class_counts",
    "Page": "pages.page",
    "StudyResult": "studies.result",
}
"""Public name to the module that defines it; study is run_study there."""

__all__ = [*_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ganatomy' has no attribute {name!r}")
    home = import_module(f"ganatomy.{_HOME[name]}")
    value: object = getattr(home, "run_study" if name == "study" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
