"""Study of report R0: a basic and a convolutional GAN."""

from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study

_EPOCH = 600
"""steps"""

BASIC_VS_CONV = Study(
    name="r0-basic-vs-conv",
    question="Does a convolutional GAN draw better digits than a fully connected one?",
    base="basic-gan",
    conditions={
        "basic": {},
        "conv": {"base": "conv-gan"},
        **{f"basic-{epochs}": {"steps": epochs * _EPOCH} for epochs in (10, 30, 70)},
        **{
            f"conv-{epochs}": {"base": "conv-gan", "steps": epochs * _EPOCH}
            for epochs in (10, 30, 70)
        },
    },
    steps=100 * _EPOCH,
    seeds=5,
    samplings=3,
    claims=(
        Claim(
            id="R0.c1a",
            text="the convolutional GAN has the lower FID",
            metric="fd",
            conditions=("basic", "conv"),
            direction="falls",
            reported=(281.92, 162.17),
        ),
        Claim(
            id="R0.c1b",
            text="and the higher IS",
            metric="score",
            conditions=("basic", "conv"),
            direction="rises",
            reported=(1.46, 2.11),
        ),
        Claim(
            id="R0.c2a",
            text="in the basic GAN D dominates: its G loses more",
            metric="mean:g_loss",
            conditions=("basic", "conv"),
            direction="falls",
        ),
        Claim(
            id="R0.c2b",
            text="its D loses less",
            metric="mean:d_loss",
            conditions=("basic", "conv"),
            direction="rises",
        ),
        Claim(
            id="R0.c2c",
            text="and its D(x) is higher",
            metric="mean:d_real",
            conditions=("basic", "conv"),
            direction="falls",
        ),
        Claim(
            id="R0.c3",
            text="the convolutional D(G(z)) is nearer 0.5",
            metric="mean:d_fake",
            conditions=("basic", "conv"),
            direction="falls",
            to=0.5,
        ),
        Claim(
            id="R0.c4",
            text="the convolutional GAN's samples are more diverse, measured as recall",
            metric="recall",
            conditions=("basic", "conv"),
            direction="rises",
        ),
    ),
)
