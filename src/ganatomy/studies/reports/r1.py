"""Studies of report R1: original and enhanced GAN, step ratio, batch norm, labels, collapse."""

import math

from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study

_NORMS = {
    "both": {},
    "no-g": {"g_norm": "none"},
    "no-d": {"d_norm": "none"},
    "none": {"g_norm": "none", "d_norm": "none"},
}


def _smoother(letter: str, net: str, loss: str) -> Claim:
    """Claim that a loss jumps less without batch norm in a network, whether the other has it."""
    without, other = {"G": ("no-g", "no-d"), "D": ("no-d", "no-g")}[net]
    return Claim(
        id=f"R1.c3{letter}",
        text=f"without batch norm in {net} the loss of {loss.upper()} jumps less",
        metric=f"fluctuation:{loss}_loss",
        conditions=("both", without),
        blocks=((other, "none"),),
        direction="falls",
    )


ORIGINAL_VS_ENHANCED = Study(
    name="r1-original-vs-enhanced",
    question="Does a convolutional GAN learn digits better, and faster, than the original one?",
    base="enhanced-gan",
    conditions={
        **{
            f"original-{epochs}": {"base": "original-gan", "steps": math.ceil(epochs * 468.75)}
            for epochs in (10, 60, 110, 160, 200)
        },
        "enhanced": {},
        "enhanced-longer": {"steps": 2344},
    },
    steps=900,
    seeds=5,
    samplings=3,
    claims=(
        Claim(
            id="R1.c1a",
            text="after 900 steps the convolutional GAN has a lower FID than the original one at "
            "its best, after 160 epochs",
            metric="fd",
            conditions=("original-160", "enhanced"),
            direction="falls",
            reported=(0.1694, 0.0285),
        ),
        Claim(
            id="R1.c1b",
            text="it converges faster: 900 steps are better than ten epochs of the original one",
            metric="fd",
            conditions=("original-10", "enhanced"),
            direction="falls",
            reported=(1.3335, 0.0285),
        ),
        Claim(
            id="R1.c1c",
            text="and so are 2,344 steps, which have as many updates of both networks together",
            metric="fd",
            conditions=("original-10", "enhanced-longer"),
            direction="falls",
        ),
        Claim(
            id="R1.c5",
            text="the original GAN has a higher FID at epoch 200 than at 160",
            metric="fd",
            conditions=("original-160", "original-200"),
            direction="rises",
            reported=(0.1694, 0.2634),
        ),
    ),
)

STEP_RATIO = Study(
    name="r1-step-ratio",
    question="Should the generator take more steps than the discriminator?",
    base="enhanced-gan",
    conditions={"k1": {"g_steps": 1}, "k3": {}, "k1-longer": {"g_steps": 1, "steps": 1800}},
    steps=900,
    seeds=4,
    samplings=3,
    claims=(
        Claim(
            id="R1.c2a",
            text="three G steps to a D step have a lower FID than one, after as many D steps",
            metric="fd",
            conditions=("k1", "k3"),
            direction="falls",
        ),
        Claim(
            id="R1.c2b",
            text="and after as many updates of both nets together: 1 + 1 has twice the steps",
            metric="fd",
            conditions=("k1-longer", "k3"),
            direction="falls",
        ),
    ),
)

BATCHNORM_ABLATION = Study(
    name="r1-batchnorm-ablation",
    question="Does batch norm make the losses fluctuate?",
    base="enhanced-gan",
    conditions=_NORMS,
    steps=18_750,
    seeds=3,
    log_every=1,
    claims=(
        _smoother("a", "G", "d"),
        _smoother("b", "G", "g"),
        _smoother("c", "D", "d"),
        _smoother("d", "D", "g"),
    ),
)

LABEL_RANGES = Study(
    name="r1-label-ranges",
    question="What do labels drawn from ranges do, against 0 and 1?",
    base="original-gan",
    conditions={"hard": {"real_label": [1, 1], "fake_label": [0, 0]}, "ranges": {}},
    steps=4688,
    seeds=4,
    samplings=3,
    claims=(
        Claim(
            id="R1.3a",
            text="labels drawn from [0, 0.3] and [0.7, 1] lower FID",
            metric="fd",
            conditions=("hard", "ranges"),
            direction="falls",
        ),
        Claim(
            id="R1.3b",
            text="and let D be less sure of real digits",
            metric="mean:d_real",
            conditions=("hard", "ranges"),
            direction="falls",
        ),
    ),
)

COLLAPSE_HIDES = Study(
    name="r1-collapse-hides",
    question="Do losses show that a GAN has collapsed?",
    base="original-gan",
    conditions={"healthy": {}, "collapsed": {"g_steps": 8}},
    steps=4688,
    seeds=5,
    samplings=3,
    claims=(
        Claim(
            id="R1.c4a",
            text="digits are missing (8 G steps to a D step make it collapse)",
            metric="missing",
            conditions=("healthy", "collapsed"),
            direction="rises",
        ),
        Claim(
            id="R1.c4b",
            text="samples repeat one another",
            metric="near_duplicates",
            conditions=("healthy", "collapsed"),
            direction="rises",
        ),
        Claim(
            id="R1.c4c",
            text="while the loss of G is lower",
            metric="mean:g_loss",
            conditions=("healthy", "collapsed"),
            direction="falls",
        ),
        Claim(
            id="R1.c4d",
            text="and jumps less",
            metric="fluctuation:g_loss",
            conditions=("healthy", "collapsed"),
            direction="falls",
        ),
        Claim(
            id="R1.c4e",
            text="and so does the loss of D",
            metric="fluctuation:d_loss",
            conditions=("healthy", "collapsed"),
            direction="falls",
        ),
    ),
)
