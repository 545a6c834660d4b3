"""The studies of the reports' claims. To add one, add a line to STUDIES.

Ids such as R3.c1 are rows of the study reports; reported numbers are theirs and were measured in
ways that cannot be compared with ours: it is directions that are tested.
"""

from pathlib import Path

from ganatomy.claim import Claim
from ganatomy.fields import nearest
from ganatomy.study import Study, from_toml

_CAPACITY = {(16, 16, 16): 112.3, (16, 100, 16): 44.8, (16, 16, 100): 44.66} | {
    (16, 100, 100): 33.84, (100, 16, 16): 65.18, (100, 100, 100): 24.61
}  # fmt: skip


def _cell(sizes: tuple[int, int, int]) -> str:
    return "z{}-g{}-d{}".format(*sizes)


def _larger(
    letter: str, text: str, small: tuple[int, int, int], large: tuple[int, int, int]
) -> Claim:
    return Claim(
        id=f"R3.c1{letter}",
        text=text,
        metric="fd",
        cells=(_cell(small), _cell(large)),
        direction="falls",
        reported=(_CAPACITY[small], _CAPACITY[large]),
    )


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            name="r0-basic-vs-conv",
            question="Does a convolutional GAN draw better digits than a fully connected one?",
            base="basic-gan",
            cells={"basic": {}, "conv": {"base": "conv-gan"}},
            steps=6000,
            seeds=5,
            claims=(
                Claim(
                    id="R0.c1a",
                    text="the convolutional GAN has the lower FID",
                    metric="fd",
                    cells=("basic", "conv"),
                    direction="falls",
                    reported=(281.92, 162.17),
                ),
                Claim(
                    id="R0.c1b",
                    text="and the higher IS",
                    metric="score",
                    cells=("basic", "conv"),
                    direction="rises",
                    reported=(1.46, 2.11),
                ),
                Claim(
                    id="R0.c2a",
                    text="in the basic GAN D dominates: its G loses more",
                    metric="mean:g_loss",
                    cells=("basic", "conv"),
                    direction="falls",
                ),
                Claim(
                    id="R0.c2b",
                    text="its D loses less",
                    metric="mean:d_loss",
                    cells=("basic", "conv"),
                    direction="rises",
                ),
                Claim(
                    id="R0.c2c",
                    text="and its D(x) is higher",
                    metric="mean:d_real",
                    cells=("basic", "conv"),
                    direction="falls",
                ),
                Claim(
                    id="R0.c3",
                    text="the convolutional D(G(z)) is nearer 0.5",
                    metric="mean:d_fake",
                    cells=("basic", "conv"),
                    direction="falls",
                    to=0.5,
                ),
                Claim(
                    id="R0.c4",
                    text="the convolutional GAN's samples are more diverse, measured as recall",
                    metric="recall",
                    cells=("basic", "conv"),
                    direction="rises",
                ),
            ),
        ),
        Study(
            name="r3-capacity",
            question="Do a larger latent, generator and discriminator each give better digits?",
            base="capacity-z16-g16-d16",
            cells={
                _cell((z, g, d)): {"z_dim": z, "g_widths": [g], "d_widths": [d]}
                for z, g, d in _CAPACITY
            },
            steps=5000,
            seeds=5,
            claims=(
                _larger("a", "a larger z lowers FID", (16, 16, 16), (100, 16, 16)),
                _larger("b", "a larger gh lowers FID", (16, 16, 16), (16, 100, 16)),
                _larger("c", "a larger dh lowers FID", (16, 16, 16), (16, 16, 100)),
                _larger(
                    "d", "a larger z helps large networks too", (16, 100, 100), (100, 100, 100)
                ),
            ),
        ),
    )
}


def study(name: str) -> Study:
    """Return a named study, or the one in a TOML file.

    Raises:
        ValueError: for a name that is neither, or a file that is not a study.
    """
    if name in STUDIES:
        return STUDIES[name]
    if not name.endswith(".toml"):
        raise ValueError(
            f"unknown study {name!r} {nearest(name, STUDIES)}; a study file ends in .toml"
        )
    return from_toml(Path(name))
