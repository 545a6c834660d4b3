"""check_model: the rules that every pair of networks keeps, and those that it claims to keep."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganatomy.models.net import (
    Model,
    NetworkConfig,
    Networks,
    Support,
    as_model,
    check_networks,
    squeeze_logits,
)
from ganatomy.validation import require

Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = ((1, 28, 28), (3, 32, 32), (3, 64, 64), (2,))
"""Shapes of samples that are tried."""

WIDTHS, Z_DIM = (8,), 6

PLAIN = NetworkConfig(widths=WIDTHS)


def check_model(part: object, shape: Shape | None = None) -> None:
    """Check a pair of networks: shapes, ranges, gradients, seeds, state, and each claimed support.

    Args:
        part: a Model, or a function that as_model takes.
        shape: shape of one sample; None takes the first of SHAPES that the model builds.

    Raises:
        ValueError: for the first rule that is broken.
    """
    model = as_model(part)
    shape = shape or _shape(model)
    networks = _build(model, shape)
    check_networks(*networks, shape, Z_DIM)
    again = map(_same, networks, _build(model, shape))
    require(all(again), "networks built from one seed differ")
    _check_gradients(*networks, _inputs(shape)[0])
    _check_evaluation(networks, _build(model, shape, seed=1), shape)
    for claim in sorted(model.supports):
        _CLAIMS[claim](model, shape)


def _shape(model: Model) -> Shape:
    """Return the first of SHAPES that the model builds; raise its error if it builds none."""
    for shape in SHAPES[:-1]:
        try:
            _build(model, shape)
        except ValueError:
            continue
        return shape
    _build(model, SHAPES[-1])
    return SHAPES[-1]


def _build(
    model: Model, shape: Shape, g: NetworkConfig = PLAIN, d: NetworkConfig = PLAIN, seed: int = 0
) -> Networks:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.build(shape, Z_DIM, g, d)


def _inputs(shape: Shape) -> tuple[Tensor, Tensor]:
    """Return latent vectors and samples, four of each."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(4, Z_DIM, generator=rng), torch.rand(4, *shape, generator=rng) * 2 - 1


def _same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def _check_gradients(g: nn.Module, d: nn.Module, z: Tensor) -> None:
    require(bool(g(100 * z).abs().max() <= 1), "the generator's samples leave [-1, 1]")
    squeeze_logits(d(g(z)), z.shape[:1]).sum().backward()
    for net, player in ((g, "generator"), (d, "discriminator")):
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        require(any(bool(grad.any()) for grad in grads), f"no gradient reaches the {player}")
        finite = all(bool(grad.isfinite().all()) for grad in grads)
        require(finite, f"the {player}'s gradient is not finite")


@torch.no_grad()
def _check_evaluation(networks: Networks, others: Networks, shape: Shape) -> None:
    """Check that an output in evaluation depends on its own input and on the saved state alone."""
    for net, other, x, player in zip(
        networks, others, _inputs(shape), ("generator", "discriminator"), strict=True
    ):
        made = net.eval()(x)
        require(torch.equal(net(x), made), f"the {player} draws random numbers in evaluation")
        alone = torch.allclose(net(x[:2]), made[:2], rtol=1e-4, atol=1e-5)
        require(alone, f"the {player} mixes the samples of a batch in evaluation")
        other.load_state_dict(net.state_dict())
        kept = torch.equal(other.eval()(x), made)
        require(kept, f"the {player} has weights that its state_dict lacks")


def _check_effect(model: Model, shape: Shape, name: Support, asked: NetworkConfig) -> None:
    """Check that a setting changes the network that it is given to, and only that."""
    inputs, plain = _inputs(shape), _build(model, shape)
    for k, player in enumerate(("generator", "discriminator")):
        built = _build(model, shape, *((asked, PLAIN) if k == 0 else (PLAIN, asked)))
        equal = _same(built[k], plain[k]) and torch.equal(
            _training(built[k], inputs[k]), _training(plain[k], inputs[k])
        )
        require(not equal, f"it claims {name}, which has no effect on the {player}")
        ours, theirs = (
            {name: value.shape for name, value in nets[1 - k].state_dict().items()}
            for nets in (built, plain)
        )
        require(ours == theirs, f"{name} of the {player} changes the other network too")


@torch.no_grad()
def _training(net: nn.Module, x: Tensor) -> Tensor:
    """Return an output in training, its random numbers drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: Tensor = net.train()(x)
    return made


def _check_attention(model: Model, shape: Shape) -> None:
    """Check that one side takes effect, and that a side without feature maps is refused."""

    def with_attention(side: int) -> NetworkConfig | None:
        asked = NetworkConfig(widths=WIDTHS, attention=(side,))
        try:
            _build(model, shape, asked, asked)
        except ValueError:
            return None
        return asked

    taken = list(filter(None, map(with_attention, range(1, shape[-1]))))
    require(bool(taken), f"it claims attention, but refuses every side for samples {shape}")
    _check_effect(model, shape, "attention", taken[-1])
    absent = with_attention(shape[-1] + 1)
    require(absent is None, f"it takes attention {shape[-1] + 1}, a side that it does not have")


@torch.no_grad()
def _check_one_pass(model: Model, shape: Shape) -> None:
    (_, d), (_, x) = _build(model, shape), _inputs(shape)
    alike = torch.allclose(d(x), torch.cat([d(x[:2]), d(x[2:])]), rtol=1e-4, atol=1e-5)
    require(alike, "it claims one_pass, but its logits depend on the batch or on chance")


def _effect(name: Support, **settings: object) -> Callable[[Model, Shape], None]:
    asked = NetworkConfig(widths=WIDTHS, **settings)  # type: ignore[arg-type]
    return lambda model, shape: _check_effect(model, shape, name, asked)


_CLAIMS: dict[Support, Callable[[Model, Shape], None]] = {
    "norm": _effect("norm", norm="batch"),
    "dropout": _effect("dropout", dropout=0.5),
    "activation": _effect("activation", activation="sigmoid"),
    "attention": _check_attention,
    "one_pass": _check_one_pass,
}
