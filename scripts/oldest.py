"""Print the lower bounds of all dependencies in pyproject.toml as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for group in (project["dependencies"], *project["optional-dependencies"].values()):
    for name, bound in re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)", "\n".join(group), re.M):
        print(f"{name}=={bound}")
