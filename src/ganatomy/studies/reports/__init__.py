"""The studies of the reports' claims. To add one, add it to its report's module, or a module here.

Ids such as R3.c1 are rows of the study reports; reported numbers are theirs and were measured in
ways that cannot be compared with ours: it is directions that are tested.
"""

from pathlib import Path

from ganatomy.studies.files import from_file
from ganatomy.studies.reports.r0 import R0
from ganatomy.studies.reports.r1 import R1
from ganatomy.studies.reports.r2 import R2
from ganatomy.studies.reports.r3 import R3
from ganatomy.studies.reports.r4 import R4
from ganatomy.studies.study import Study
from ganatomy.validation import nearest

STUDIES: dict[str, Study] = {study.name: study for study in (*R0, *R1, *R2, *R3, *R4)}


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
