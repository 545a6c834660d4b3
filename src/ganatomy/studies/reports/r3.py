"""Studies of report R3: capacity, modes, interpolation."""

import itertools

from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study

Sizes = tuple[int, ...]

_REPORTED: dict[Sizes, float] = {
    (16, 16, 16): 112.3,
    (16, 100, 16): 44.8,
    (16, 16, 100): 44.66,
    (16, 100, 100): 33.84,
    (100, 16, 16): 65.18,
    (100, 100, 100): 24.61,
}
"""reported FID by latent, generator and discriminator size"""

_ALL: list[Sizes] = [(z, g, d) for z, g, d in itertools.product((16, 100), repeat=3)]

_MNIST_SHARES = {4: 5842 / 60_000, 6: 5918 / 60_000, 8: 5851 / 60_000}
"""share of MNIST's training images, for the digits that the report finds too seldom"""


def _condition(sizes: Sizes) -> str:
    return "z{}-g{}-d{}".format(*sizes)


def _larger(letter: str, factor: int, name: str) -> Claim:
    """Claim that one larger size lowers FID, pooled over the four settings of the two others.

    The report has numbers for the first setting.
    """
    pairs = [(s, (*s[:factor], 100, *s[factor + 1 :])) for s in _ALL if s[factor] == 16]
    rows = [(_condition(small), _condition(large)) for small, large in pairs]
    return Claim(
        id=f"R3.c1{letter}",
        text=f"a larger {name} lowers FID",
        metric="fd",
        conditions=rows[0],
        blocks=tuple(rows[1:]),
        direction="falls",
        reported=tuple(_REPORTED[sizes] for sizes in pairs[0]),
    )


CAPACITY = Study(
    name="r3-capacity",
    question="Do a larger latent, generator and discriminator each give better digits?",
    base="capacity-z16-g16-d16",
    conditions={
        _condition((z, g, d)): {"z_dim": z, "g_widths": [g], "d_widths": [d]} for z, g, d in _ALL
    },
    steps=5000,
    seeds=5,
    samplings=3,
    claims=(
        _larger("a", 0, "latent"),
        _larger("b", 1, "generator"),
        _larger("c", 2, "discriminator"),
        Claim(
            id="R3.c1d",
            text="the largest network of all is the best: better than with a latent of 16",
            metric="fd",
            conditions=(_condition((16, 100, 100)), _condition((100, 100, 100))),
            direction="falls",
            reported=(33.84, 24.61),
        ),
        Claim(
            id="R3.c2a",
            text="no network reaches D(x) = 0.5: all stay above",
            metric="mean:d_real",
            conditions=(_condition(_ALL[0]),),
            blocks=tuple((_condition(sizes),) for sizes in _ALL[1:]),
            direction="rises",
            value=0.5,
        ),
        Claim(
            id="R3.c2b",
            text="(16, 100, 16) comes nearer to it than (16, 16, 16), the next small one",
            metric="mean:d_real",
            conditions=(_condition((16, 16, 16)), _condition((16, 100, 16))),
            direction="falls",
            to=0.5,
        ),
    ),
)

MODES = Study(
    name="r3-modes",
    question="Does the best network draw all digits equally often?",
    base="capacity-z100-g100-d100",
    conditions={"best": {}},
    steps=5000,
    seeds=7,
    samplings=3,
    claims=(
        Claim(
            id="R3.c3a",
            text="digits are unevenly generated: chi-squared is above its 5 % point, 16.9",
            metric="chi2",
            conditions=("best",),
            direction="rises",
            value=16.919,
        ),
        *(
            Claim(
                id=f"R3.c3{letter}",
                text=f"{digit} is drawn too seldom: below its share of MNIST",
                metric=f"share:{digit}",
                conditions=("best",),
                direction="falls",
                value=share,
            )
            for letter, (digit, share) in zip("bcd", _MNIST_SHARES.items(), strict=True)
        ),
    ),
)

INTERPOLATION = Study(
    name="r3-interpolation",
    question="Do digits change smoothly on the way between two latent vectors?",
    base="capacity-z100-g100-d100",
    conditions={"best": {}},
    steps=5000,
    seeds=5,
    claims=(
        Claim(
            id="R3.c4",
            text="no jumps: of ten steps the largest is less than twice the mean",
            metric="interpolation:lerp",
            conditions=("best",),
            direction="falls",
            value=2.0,
        ),
    ),
)
