"""Named studies, which test claims of the five reports in docs/reports.md.

A claim's id, such as R3.c1, is a row of its report. Reported numbers were measured in other ways
and are only shown: a claim is about a direction. To add a study, add it to a module and to STUDIES.
"""

from pathlib import Path

from ganatomy.studies.files import from_file
from ganatomy.studies.reports import r0, r1, r2, r3, r4
from ganatomy.studies.study import Study
from ganatomy.validation import nearest

STUDIES: dict[str, Study] = {
    "r0-basic-vs-conv": r0.BASIC_VS_CONV,
    "r1-original-vs-enhanced": r1.ORIGINAL_VS_ENHANCED,
    "r1-step-ratio": r1.STEP_RATIO,
    "r1-batchnorm-ablation": r1.BATCHNORM_ABLATION,
    "r1-label-ranges": r1.LABEL_RANGES,
    "r1-collapse-hides": r1.COLLAPSE_HIDES,
    "r2-latent-200": r2.LATENT_200,
    "r3-capacity": r3.CAPACITY,
    "r3-modes": r3.MODES,
    "r3-interpolation": r3.INTERPOLATION,
    "r4-attention-wasserstein": r4.ATTENTION_WASSERSTEIN,
}


def study(name: str) -> Study:
    """Return a named study, or the study in a .toml or .json file.

    Raises:
        ValueError: for an unknown name, with the nearest one, or a file that is not a study.
    """
    if name in STUDIES:
        return STUDIES[name]
    if Path(name).suffix not in (".toml", ".json"):
        raise ValueError(
            f"unknown study {name!r} {nearest(name, STUDIES)}; a study file ends in .toml or .json"
        )
    return from_file(Path(name))
