"""Study of report R2: PyTorch's DCGAN example."""

from ganatomy.studies.claim import Claim
from ganatomy.studies.study import Study

LATENT_200 = Study(
    name="r2-latent-200",
    question="Does a latent of 200 bring D nearer to not telling real from generated?",
    base="dcgan64",
    conditions={"z100": {}, "z200": {"z_dim": 200}},
    steps=23_438,
    seeds=4,
    claims=(
        Claim(
            id="R2.c1a",
            text="raising latent 100 to 200 moves D(x) down",
            metric="mean:d_real",
            conditions=("z100", "z200"),
            direction="falls",
        ),
        Claim(
            id="R2.c1b",
            text="and D(G(z)) up",
            metric="mean:d_fake",
            conditions=("z100", "z200"),
            direction="rises",
        ),
    ),
)
