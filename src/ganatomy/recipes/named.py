"""The named recipes, and recipes read from files. To add one, add a line to RECIPES.

Ids such as R0.1 are rows of the study reports whose systems these are; one without is our own.
"""

import json
import tomllib
from pathlib import Path

from ganatomy.recipes.recipe import Recipe
from ganatomy.validation import from_keyed, nearest

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

RECIPES: dict[str, tuple[str, Recipe]] = {
    "basic-gan": (
        "R0.1: fully connected GAN on MNIST. Not stated there and chosen here: Adam's own betas "
        "(0.9, 0.999), leak 0.2, a normal latent",
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
    "conv-gan": (
        "R0.2: convolutional GAN on MNIST. Not stated there and chosen here: DCGAN's plan for "
        "28 pixels with 64 (G) and 32 (D) channels beside the image, PyTorch's own initial "
        "weights, leak 0.2, a normal latent of 100, smoothed labels for D only",
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
    "original-gan": (
        "R1.1, R1.2: fully connected GAN on MNIST, layers as in its tables I and II. Chosen among "
        "the settings that R1.3 tried: lr 2e-4, latent 100, its label ranges. Not stated: dropout "
        "0.3, batch 128, Adam with betas (0.5, 0.999), leak 0.2",
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
    "enhanced-gan": (
        "R1.4: convolutional GAN on MNIST with three G steps per D step; 10 epochs as in R1.10, "
        "for R1.7 give --steps 900. Not stated: 64 channels beside the image, latent 100, "
        "PyTorch's initial weights",
        _ENHANCED,
    ),
    "enhanced-gan-no-g-norm": (
        "R1.10: enhanced-gan without batch norm in G",
        _ENHANCED.replace(g_norm="none"),
    ),
    "enhanced-gan-no-d-norm": (
        "R1.10: enhanced-gan without batch norm in D",
        _ENHANCED.replace(d_norm="none"),
    ),
    "enhanced-gan-no-norm": (
        "R1.10: enhanced-gan without batch norm",
        _ENHANCED.replace(g_norm="none", d_norm="none"),
    ),
    "enhanced-gan-celeba": (
        "R1.5: enhanced-gan on CelebA, one more block, three colours. Not stated beyond R1.4's: "
        "the centre 178 pixels of each image, resized to 64",
        _ENHANCED.replace(dataset="celeba", shape=(3, 64, 64)),
    ),
    "dcgan64": (
        "R2.1, R2.2: DCGAN on MNIST at 64 pixels, G learning from the fakes that D has just seen. "
        "Batch 64 as its text has it (its log shows 128). Not stated: lr 2e-4, betas (0.5, 0.999) "
        "and normal initial weights of deviation 0.02, as in the paper; biases where no norm is",
        _DCGAN64,
    ),
    "dcgan64-z200": (
        "R2.5: dcgan64 with a latent of 200",
        _DCGAN64.replace(z_dim=200),
    ),
    **{
        f"capacity-z{z}-g{g}-d{d}": (
            f"R3.1: DCGAN on MNIST, latent {z}, gh {g} and dh {d} channels beside the image. Not "
            "stated: 28 pixels, lr 2e-4, betas (0.5, 0.999), PyTorch's initial weights",
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
    "dcgan-cifar10": (
        "R4.1: DCGAN on CIFAR-10, batch norm after the first three layers of D. Not stated: 64 "
        "channels beside the image, latent 100, batch 64, and the rest as DCGAN's paper",
        _CIFAR,
    ),
    "sagan-cifar10": (
        "R4.2: self-attention GAN on CIFAR-10. Nothing but self-attention is stated; as its paper: "
        "hinge loss, spectral norm in both, two time scales (1e-4, 4e-4), betas (0, 0.9), Glorot's "
        "weights. Chosen: residual blocks of 48 channels, attention at 16 x 16, batch 64",
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
    "wgan-cifar10": (
        "R4.3: Wasserstein GAN on CIFAR-10. Nothing but its loss is stated; as its paper: D's "
        "weights clipped to 0.01, RMSprop at 5e-5, five D steps per G step, DCGAN's networks",
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
    "wgan-gp-cifar10": (
        "R4.3: Wasserstein GAN with gradient penalty on CIFAR-10. Nothing but its loss is stated; "
        "as Gulrajani et al. for CIFAR-10: penalty 10, five D steps per G step, Adam at 2e-4 with "
        "betas (0, 0.9), no norm in D; chosen: DCGAN's networks",
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
    "mnist-fast": (
        "The best digits for the time, of what was tried on two CPU cores: DCGAN of 32 channels, "
        "no norm in D, lazy R1, Adam without momentum at 1e-3, averaged weights. For --precision "
        "bf16 where doctor finds it faster; for an hour or more add --r1 1 --ema 0.9998; see "
        "studies/quality-per-minute",
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
        return from_keyed(Recipe, values)
    except OSError as error:
        raise ValueError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a recipe: {error}") from error
