"""Studies of report R4: DCGAN, self-attention and Wasserstein GANs on CIFAR-10."""

from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study

_JPEG = {"dataset": "cifar10-jpeg.tar.gz"}
"""CIFAR-10 as JPEG, see docs/reports.md; in the folder of datasets"""


def _repairs(letter: str, condition: str, metric: str, text: str) -> Claim:
    return Claim(
        id=f"R4.c1{letter}",
        text=text,
        metric=metric,
        conditions=("dcgan", condition),
        direction="falls" if metric == "fd" else "rises",
    )


ATTENTION_WASSERSTEIN = Study(
    name="r4-attention-wasserstein",
    question="Do self-attention and Wasserstein training repair what DCGAN lacks on CIFAR-10?",
    base="dcgan-cifar10",
    conditions={
        "dcgan": _JPEG,
        "attention": {"base": "sagan-cifar10"} | _JPEG,
        "wasserstein": {"base": "wgan-gp-cifar10", "steps": 18_750} | _JPEG,
    },
    steps=93_750,
    seeds=5,
    samplings=3,
    claims=(
        _repairs("a", "attention", "fd", "self-attention lowers FID"),
        _repairs("b", "wasserstein", "fd", "Wasserstein training lowers FID"),
        _repairs("c", "attention", "recall", "self-attention repairs mode collapse: recall"),
        _repairs("d", "wasserstein", "recall", "Wasserstein training repairs mode collapse"),
    ),
)
