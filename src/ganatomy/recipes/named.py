"""Named recipes, and recipes read from files. To add one, add an entry to RECIPES.

Most are systems of five study reports, see docs/reports.md. Each description says which settings
the report or paper states, and which were chosen here.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ganatomy.recipes.recipe import Recipe
from ganatomy.validation import from_keyed, nearest


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that is chosen by name."""

    about: str
    """source, and the settings that the source does not state"""
    recipe: Recipe


_ENHANCED = Recipe.of(
    dataset="mnist",
    model="dcgan",
    z_dim=100,
    g_widths=(64,),
    d_widths=(64,),
    g_norm="batch",
    d_norm="batch_all",
    g_activation="leaky_relu",
    batch=32,
    epochs=10,
    g_steps=3,
    lr_g=1e-4,
    lr_d=1e-4,
    beta1=0.5,
    beta2=0.999,
)
_DCGAN64 = Recipe.of(
    dataset="mnist",
    shape=(1, 64, 64),
    model="dcgan",
    z_dim=100,
    g_widths=(64,),
    d_widths=(64,),
    g_norm="batch",
    d_norm="batch",
    init="dcgan",
    same_fakes=True,
    batch=64,
    epochs=25,
    lr_g=2e-4,
    lr_d=2e-4,
    beta1=0.5,
    beta2=0.999,
)
_CAPACITY = Recipe.of(
    dataset="mnist",
    model="dcgan",
    g_norm="batch",
    d_norm="batch",
    g_widths=(16,),
    d_widths=(16,),
    batch=64,
    steps=5000,
    lr_g=2e-4,
    lr_d=2e-4,
    beta1=0.5,
    beta2=0.999,
)
_CIFAR = _DCGAN64.replace(dataset="cifar10", shape=None, d_norm="batch_all", epochs=120)

RECIPES: dict[str, NamedRecipe] = {
    "basic-gan": NamedRecipe(
        "Fully connected GAN on MNIST, from the report on basic and convolutional GANs. Chosen "
        "here: Adam's default betas (0.9, 0.999), leak 0.2, a normal latent",
        Recipe.of(
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
    "conv-gan": NamedRecipe(
        "Convolutional GAN on MNIST, from the report on basic and convolutional GANs. Chosen "
        "here: DCGAN's layers for 28 pixels with 64 (G) and 32 (D) channels next to the image, "
        "PyTorch's initial weights, leak 0.2, a normal latent of 100, smoothed labels for D "
        "only",
        Recipe.of(
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
    "original-gan": NamedRecipe(
        "Fully connected GAN on MNIST, from the report on the original and an enhanced GAN, "
        "with the layers of its tables. Chosen among the settings that it tried: lr 2e-4, "
        "latent 100, its label ranges. Chosen here: dropout 0.3, batch 128, betas (0.5, 0.999), "
        "leak 0.2",
        Recipe.of(
            dataset="mnist",
            model="mlp",
            z_dim=100,
            g_widths=(256, 512, 1024),
            d_widths=(1024, 512, 256),
            d_dropout=0.3,
            real_label=(0.7, 1.0),
            fake_label=(0.0, 0.3),
            batch=128,
            epochs=200,
            lr_g=2e-4,
            lr_d=2e-4,
            beta1=0.5,
            beta2=0.999,
        ),
    ),
    "enhanced-gan": NamedRecipe(
        "Convolutional GAN on MNIST with three G updates per D update, from the report on the "
        "original and an enhanced GAN: 10 epochs as in its ablation; its FID table has 900 "
        "steps. Chosen here: 64 channels next to the image, latent 100, PyTorch's initial "
        "weights",
        _ENHANCED,
    ),
    "enhanced-gan-no-g-norm": NamedRecipe(
        "enhanced-gan without batch norm in G, an ablation in its report",
        _ENHANCED.replace(g_norm="none"),
    ),
    "enhanced-gan-no-d-norm": NamedRecipe(
        "enhanced-gan without batch norm in D, an ablation in its report",
        _ENHANCED.replace(d_norm="none"),
    ),
    "enhanced-gan-no-norm": NamedRecipe(
        "enhanced-gan without batch norm, an ablation in its report",
        _ENHANCED.replace(g_norm="none", d_norm="none"),
    ),
    "enhanced-gan-celeba": NamedRecipe(
        "enhanced-gan on CelebA with one more block and three channels, as in its report. "
        "Chosen here, besides enhanced-gan's choices: the central 178 pixels of each image, "
        "resized to 64",
        _ENHANCED.replace(dataset="celeba", shape=(3, 64, 64)),
    ),
    "dcgan64": NamedRecipe(
        "DCGAN on MNIST at 64 pixels, from the report on PyTorch's DCGAN example: G learns from "
        "the fakes that D has just seen. Batch 64 as in its text (its log has 128). Chosen "
        "here, as in the DCGAN paper: lr 2e-4, betas (0.5, 0.999), normal initial weights of "
        "deviation 0.02; biases in layers without norm",
        _DCGAN64,
    ),
    "dcgan64-z200": NamedRecipe(
        "dcgan64 with a latent of 200, the comparison in its report",
        _DCGAN64.replace(z_dim=200),
    ),
    **{
        f"capacity-z{z}-g{g}-d{d}": NamedRecipe(
            f"DCGAN on MNIST with latent {z} and {g} (G) and {d} (D) channels next to the image, "
            "from the report on DCGAN's capacity. Chosen here: 28 pixels, lr 2e-4, betas (0.5, "
            "0.999), PyTorch's initial weights",
            _CAPACITY.replace(z_dim=z, g_widths=(g,), d_widths=(d,)),
        )
        for z, g, d in (
            (16, 16, 16),
            (16, 100, 16),
            (16, 16, 100),
            (16, 100, 100),
            (100, 16, 16),
            (100, 100, 100),
        )
    },
    "dcgan-cifar10": NamedRecipe(
        "DCGAN on CIFAR-10 with batch norm after the first three layers of D, from the report "
        "on GANs for CIFAR-10. Chosen here: 64 channels next to the image, latent 100, batch "
        "64, the rest as in the DCGAN paper",
        _CIFAR,
    ),
    "sagan-cifar10": NamedRecipe(
        "Self-attention GAN on CIFAR-10, from the report on GANs for CIFAR-10, which states "
        "self-attention only. As in the SAGAN paper: hinge loss, spectral norm in both "
        "networks, learning rates 1e-4 and 4e-4, betas (0, 0.9), Glorot's initial weights. "
        "Chosen here: residual blocks of 48 channels, attention at 16 x 16, batch 64",
        _CIFAR.replace(
            model="sagan",
            z_dim=128,
            g_widths=(48,),
            d_widths=(48,),
            d_norm="none",
            spectral="both",
            attention=(16,),
            init="xavier",
            loss="hinge",
            same_fakes=False,
            lr_g=1e-4,
            lr_d=4e-4,
            beta1=0.0,
            beta2=0.9,
        ),
    ),
    "wgan-cifar10": NamedRecipe(
        "Wasserstein GAN on CIFAR-10, from the report on GANs for CIFAR-10, which states the "
        "loss only. As in the WGAN paper: D's weights clipped to 0.01, RMSprop at 5e-5, five D "
        "updates per G update, DCGAN's networks",
        _CIFAR.replace(
            d_norm="batch",
            loss="wasserstein",
            same_fakes=False,
            clip=0.01,
            d_steps=5,
            opt_g="rmsprop",
            opt_d="rmsprop",
            lr_g=5e-5,
            lr_d=5e-5,
        ),
    ),
    "wgan-gp-cifar10": NamedRecipe(
        "Wasserstein GAN with gradient penalty on CIFAR-10, from the report on GANs for "
        "CIFAR-10, which states the loss only. As in Gulrajani et al. for CIFAR-10: penalty 10, "
        "five D updates per G update, Adam at 2e-4 with betas (0, 0.9), no norm in D. Chosen "
        "here: DCGAN's networks",
        _CIFAR.replace(
            d_norm="none",
            init="pytorch",
            loss="wasserstein",
            same_fakes=False,
            gp=10.0,
            d_steps=5,
            lr_g=2e-4,
            lr_d=2e-4,
            beta1=0.0,
            beta2=0.9,
        ),
    ),
    "mnist-fast": NamedRecipe(
        "Best digits per minute of the settings tried on two CPU cores: DCGAN of 32 channels, "
        "no norm in D, lazy R1, Adam without momentum at 1e-3, averaged weights. Use "
        "--precision bf16 where doctor finds it faster; for an hour or more add --r1 1 --ema "
        "0.9998; see studies/quality-per-minute",
        Recipe.of(
            dataset="mnist",
            model="dcgan",
            z_dim=64,
            g_widths=(32,),
            d_widths=(32,),
            g_norm="batch",
            r1=3.0,
            penalty_every=8,
            batch=64,
            steps=20_000,
            same_fakes=True,
            lr_g=1e-3,
            lr_d=1e-3,
            beta1=0.0,
            beta2=0.99,
            ema=0.998,
        ),
    ),
}


def read(name: str) -> Recipe:
    """Return a named recipe, or read one from a .json or .toml file of recipe fields.

    Fields have their public names, or are in tables of their sections.

    Raises:
        ValueError: for an unknown name, or a file that is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name].recipe
    path = Path(name)
    if path.suffix not in (".json", ".toml"):
        raise ValueError(
            f"unknown recipe {name!r} {nearest(name, RECIPES)}; "
            "a recipe file ends in .json or .toml"
        )
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        return from_keyed(Recipe, values)
    except OSError as error:
        raise ValueError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a recipe: {error}") from error


def default_folder(name: str | Path, recipe: Recipe) -> Path:
    """Return the run folder of a recipe by the name or file that it came from: runs/NAME-KEY."""
    return Path("runs") / f"{Path(name).stem}-{recipe.key}"
