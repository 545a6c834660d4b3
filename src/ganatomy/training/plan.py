"""The plan of a training: its length, networks and disk space, without training."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganatomy.data import Size
from ganatomy.gan.cost import predict_cost
from ganatomy.gan.machine import pick_device
from ganatomy.recipes.named import default_folder
from ganatomy.recipes.recipe import Recipe, RunOptions
from ganatomy.runs.data import load_data, place
from ganatomy.validation import to_dict


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do."""

    run: Path
    steps: int
    images: int
    """real images"""
    shape: tuple[int, ...]
    """shape of one sample"""
    g_parameters: int
    d_parameters: int
    device: str
    disk_bytes: int
    """approximate size of the finished run folder"""
    recipe: Recipe
    options: RunOptions

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        return asdict(self) | {
            "run": str(self.run),
            "shape": list(self.shape),
            "recipe": to_dict(self.recipe),
            "options": to_dict(self.options),
        }

    def __str__(self) -> str:
        return (
            f"would train {self.steps:,} steps on {self.images:,} samples of shape {self.shape} on "
            f"{self.device}; G {self.g_parameters:,} and D {self.d_parameters:,} parameters; "
            f"about {self.disk_bytes / 1e6:,.4g} MB into {self.run}; nothing written"
        )


def plan(name: str, out: Path | None, recipe: Recipe, options: RunOptions) -> TrainingPlan:
    """Load the data and build the networks, but write nothing.

    Args:
        name: the recipe's name or file.
        out: run folder; None means runs/NAME-KEY.
        recipe: the settings of the GAN.
        options: how the training would be carried out.

    Raises:
        ValueError: for a dataset, part or device that cannot be used.
    """
    recipe, options, data = place(recipe, options)
    data = load_data(recipe, options) if data is None else data
    cost = predict_cost(recipe, Size(len(data), data.shape), options, measure=False)
    return TrainingPlan(
        run=out or default_folder(name, recipe),
        steps=cost.steps,
        images=len(data),
        shape=data.shape,
        g_parameters=cost.g_parameters,
        d_parameters=cost.d_parameters,
        device=str(pick_device(options.device)),
        disk_bytes=cost.disk_bytes,
        recipe=recipe,
        options=options,
    )
