"""The commands: each a class of its arguments that, called, does the work and gives an exit code.

Nothing heavy is imported before a command needs it, so help is there at once. To add one, write
its class and add a line to COMMANDS in cli.py.
"""

from ganatomy.commands.about import Datasets, Doctor, Recipes
from ganatomy.commands.data import Data
from ganatomy.commands.export import Export
from ganatomy.commands.judge import Judge
from ganatomy.commands.look import Compare, Interpolate, Modes, Sample
from ganatomy.commands.measure import Diagnose, Evaluate, Protocols
from ganatomy.commands.study import Study, StudyNew
from ganatomy.commands.summary import Summary
from ganatomy.commands.theory import Theory
from ganatomy.commands.train import Resume, Train
from ganatomy.commands.verify import Verify

__all__ = [
    "Compare",
    "Data",
    "Datasets",
    "Diagnose",
    "Doctor",
    "Evaluate",
    "Export",
    "Interpolate",
    "Judge",
    "Modes",
    "Protocols",
    "Recipes",
    "Resume",
    "Sample",
    "Study",
    "StudyNew",
    "Summary",
    "Theory",
    "Train",
    "Verify",
]
