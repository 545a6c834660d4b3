"""Model: a function that builds two networks, and the settings that it supports."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Networks = tuple[nn.Module, nn.Module]
"""Generator and discriminator."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": functools.partial(nn.LeakyReLU, 0.2),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""To add one, add an entry here and its name to Activation in recipe.py."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Settings of one network."""

    widths: tuple[int, ...]
    """hidden sizes; their meaning depends on the model"""
    norm: Literal["batch", "batch_all", "none"] = "none"
    """normalization between layers"""
    dropout: float = 0.0
    """probability in [0, 1]"""
    activation: str | None = None
    """name in ACTIVATIONS; None takes the model's default"""
    attention: tuple[int, ...] = ()
    """side lengths, in pixels, of the feature maps that self-attention follows"""

    def active(self, own: str) -> nn.Module:
        """Return a new activation: the configured one, or own, a name in ACTIVATIONS."""
        return ACTIVATIONS[self.activation or own]()


class Build(Protocol):
    """Function that makes a generator and a discriminator for samples of one shape."""

    def __call__(
        self, shape: tuple[int, ...], z_dim: int, g: NetworkConfig, d: NetworkConfig
    ) -> Networks:
        """Build both networks.

        Args:
            shape: of one sample: (C, H, W) of images, (2,) of points.
            z_dim: size of the latent vector.
            g: settings of the generator.
            d: settings of the discriminator.

        Returns:
            The generator, latent vectors (N, z_dim) to samples (N, *shape) in [-1, 1], and the
            discriminator, samples (N, *shape) to logits (N,), or (N, 1), which training squeezes.

        Raises:
            ValueError: for settings that it cannot build, with the fix.
        """
        ...


Support = Literal["norm", "dropout", "activation", "attention", "one_pass"]


@dataclass(frozen=True)
class Model:
    """A pair of networks and the settings that it takes."""

    build: Build
    about: str = ""
    """one line of description"""
    supports: frozenset[Support] = frozenset()
    """fields of NetworkConfig that have an effect; "one_pass" if the discriminator scores each
    sample alone while norm, dropout and spectral normalization are off, so that real and
    generated samples may share one pass"""


def as_model(part: object) -> Model:
    """Return a Model as it is; make one of a function (shape, z_dim) or of a Build.

    A function claims support of nothing: recipes must leave norm, dropout, activation and attention
    at their defaults. To claim more, write a Model.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(part, Model):
        return part
    if callable(part):
        return _of_function(part)
    raise ValueError(f"{_EXPECTED}, got a {type(part).__name__}")


_EXPECTED = "expected a Model or a function (shape, z_dim) -> (generator, discriminator)"


@functools.lru_cache
def _of_function(make: Callable[..., Networks]) -> Model:
    about, signature = (make.__doc__ or "").partition("\n")[0], inspect.signature(make)
    with contextlib.suppress(TypeError):
        signature.bind((), 1)
        return Model(lambda shape, z_dim, g, d: make(shape, z_dim), about)
    try:
        signature.bind((), 1, None, None)
    except TypeError as error:
        raise ValueError(f"{_EXPECTED}, got a function {signature}") from error
    return Model(make, about)


def squeeze_logits(logits: Tensor, n: Sequence[int]) -> Tensor:
    """Return a discriminator's output for samples (*n, ...), (*n,) or (*n, 1), as (*n,).

    Raises:
        ValueError: for another shape.
    """
    if logits.shape == (*n, 1):
        return logits.squeeze(-1)
    if logits.shape != (*n,):
        raise ValueError(
            f"the discriminator must return one logit per sample, of shape (N,) = {(*n,)}, got "
            f"{tuple(logits.shape)}"
        )
    return logits


@torch.no_grad()
def check_networks(g: nn.Module, d: nn.Module, shape: tuple[int, ...], z_dim: int) -> None:
    """Pass two latent vectors through both networks, in evaluation, and check the shapes.

    Raises:
        ValueError: if they do not pass, for other samples than float32 (2, *shape), or for other
            logits than (2,) or (2, 1).
    """
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            fake = g.eval()(torch.zeros(2, z_dim))
            logits = d.eval()(torch.zeros(2, *shape))
    except RuntimeError as error:
        said = f"latent vectors of {z_dim} and samples of shape {shape}"
        raise ValueError(f"the networks cannot take {said}: {error}") from error
    if (fake.shape, fake.dtype) != ((2, *shape), torch.float32):
        raise ValueError(
            f"the generator must return float32 samples of shape (N, *{shape}), got {fake.dtype} "
            f"{tuple(fake.shape)} for N = 2"
        )
    squeeze_logits(logits, (2,))
    g.train(), d.train()


def one_width(model: str, nets: Sequence[tuple[str, NetworkConfig]]) -> None:
    """Check that each named network has one width.

    Raises:
        ValueError: naming the field that has not.
    """
    for name, net in nets:
        if len(net.widths) != 1:
            raise ValueError(
                f"{model} takes one number in {name}, of channels, got {len(net.widths)}"
            )


def check_attention(model: str, net: NetworkConfig, sides: Sequence[int]) -> None:
    """Check that the network has feature maps of the sides that attention names.

    Raises:
        ValueError: naming the sides that it has.
    """
    absent = [side for side in net.attention if side not in sides]
    if absent:
        there = ", ".join(map(str, sides))
        raise ValueError(
            f"attention {absent[0]}: {model} has no feature maps of that side for such images; "
            f"it has {there}"
        )


def apply_spectral_norm(net: nn.Module) -> None:
    """Divide the weights of every layer by their spectral norm (Miyato et al. 2018, 1802.05957).

    PyTorch's parametrization: one power iteration per forward pass in training, in float32.
    """
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            found = spectral_norm(module).get_submodule("parametrizations.weight")
            assert isinstance(found, nn.ModuleList)
            found[0] = _Full(found[0])


class _Full(nn.Module):
    """A parametrization that is computed in float32 under autocast too."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            normed: Tensor = self.inner(weight)
        return normed


def initialize(net: nn.Module, kind: Literal["pytorch", "dcgan", "xavier"]) -> None:
    """Initialize the weights of every layer, in place; "pytorch" leaves them as they are.

    "dcgan": normal with deviation 0.02, around 1 in batch norm (Radford et al. 2016, arXiv
    1511.06434). "xavier": uniform (Glorot and Bengio 2010), as in SAGAN. Biases are 0 in both.
    """
    for module in net.modules() if kind != "pytorch" else ():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if kind == "dcgan":
                nn.init.normal_(module.weight, 0.0, 0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and kind == "dcgan":
            nn.init.normal_(module.weight, 1.0, 0.02)
