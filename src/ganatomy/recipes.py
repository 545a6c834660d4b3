"""The named recipes, and recipes read from files. To add one, add a line to RECIPES.

Ids such as R0.1 are rows of the study reports whose systems these are.
"""

import json
import tomllib
from pathlib import Path

from ganatomy.fields import from_dict, nearest
from ganatomy.recipe import Recipe

RECIPES: dict[str, tuple[str, Recipe]] = {
    "basic-gan": (
        "R0.1: fully connected GAN on MNIST. Not stated there and chosen here: Adam's own betas "
        "(0.9, 0.999), leak 0.2, a normal latent",
        Recipe(
            dataset="mnist",
            model="mlp",
            z_dim=100,
            g_widths=(256, 512),
            d_widths=(512, 256),
            batch=100,
            epochs=100,
            lr_g=2e-4,
            lr_d=2e-4,
            beta1=0.9,
            beta2=0.999,
        ),
    ),
    "conv-gan": (
        "R0.2: convolutional GAN on MNIST. Not stated there and chosen here: DCGAN's plan for "
        "28 pixels with 64 (G) and 32 (D) channels beside the picture, PyTorch's own initial "
        "weights, leak 0.2, a normal latent of 100, smoothed labels for D only",
        Recipe(
            dataset="mnist",
            model="dcgan",
            z_dim=100,
            g_widths=(64,),
            d_widths=(32,),
            g_norm="batch",
            d_dropout=0.3,
            real_label=(0.9, 0.9),
            batch=100,
            epochs=100,
            lr_g=2e-4,
            lr_d=2e-4,
            beta1=0.5,
            beta2=0.999,
        ),
    ),
}


def read(name: str) -> Recipe:
    """Return a named recipe, or the one in a .json or .toml file of Recipe fields.

    Raises:
        ValueError: for a name that is neither, or a file that is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name][1]
    path = Path(name)
    if path.suffix not in (".json", ".toml"):
        raise ValueError(
            f"unknown recipe {name!r} {nearest(name, RECIPES)}; "
            "a recipe file ends in .json or .toml"
        )
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it holds no table of fields")
        return from_dict(Recipe, values)
    except OSError as error:
        raise ValueError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a recipe: {error}") from error
