"""The command line: arguments to commands, mistakes and failures to one line and an exit code."""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
import typing
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import FlagCreatePairsOff

from ganatomy import __version__
from ganatomy.cli import terminal
from ganatomy.cli.class_counts import ClassCounts
from ganatomy.cli.classifier import Classifier
from ganatomy.cli.compare import Compare
from ganatomy.cli.data import Data
from ganatomy.cli.datasets import Datasets
from ganatomy.cli.diagnose import Diagnose
from ganatomy.cli.doctor import Doctor
from ganatomy.cli.evaluate import Evaluate
from ganatomy.cli.export import Export
from ganatomy.cli.interpolate import Interpolate
from ganatomy.cli.protocols import Protocols
from ganatomy.cli.recipes import Recipes
from ganatomy.cli.sample import Sample
from ganatomy.cli.study import Study, StudyNew
from ganatomy.cli.summary import Summary
from ganatomy.cli.theory import Theory
from ganatomy.cli.train import Resume, Train, Training
from ganatomy.cli.verify import Verify
from ganatomy.gan import launch
from ganatomy.recipes.named import read
from ganatomy.recipes.recipe import RunOptions
from ganatomy.validation import leaves, lookup

COMMANDS: dict[str, type[Any]] = {
    "train": Train,
    "resume": Resume,
    "sample": Sample,
    "interpolate": Interpolate,
    "class-counts": ClassCounts,
    "compare": Compare,
    "study": Study,
    "study new": StudyNew,
    "evaluate": Evaluate,
    "diagnose": Diagnose,
    "protocols": Protocols,
    "verify": Verify,
    "classifier": Classifier,
    "export": Export,
    "theory": Theory,
    "data": Data,
    "summary": Summary,
    "recipes": Recipes,
    "datasets": Datasets,
    "doctor": Doctor,
}

_STYLE = (FlagCreatePairsOff,)


def parse(arguments: list[str]) -> Any:
    """Turn arguments, the command first, into a command.

    Raises:
        ValueError: for arguments that cannot be parsed, with the fix in one line.
        OSError: for a run folder that cannot be read.
        SystemExit: after help or shell completion was printed.
    """
    words = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name.startswith("-"):
        if name not in ("-h", "--help") and not name.startswith(("--tyro-", "--tyro_")):
            raise ValueError(f"unknown argument {name!r}; a command comes first (see --help)")
        return _parse_any(arguments)
    kind = lookup(COMMANDS, name, "command")
    wants_help = bool({"-h", "--help"} & set(rest))
    with _complaining():
        command, unknown = tyro.cli(
            kind,
            prog=f"ganatomy {name}",
            args=rest,
            default=tyro.MISSING_NONPROP if wants_help else _default(name, rest),
            config=_STYLE,
            return_unknown_args=True,
        )
    if unknown:
        raise ValueError(f"unknown argument {unknown[0]!r} {_nearest_flag(unknown[0], kind)}")
    return command


def _parse_any(arguments: list[str]) -> Any:
    """Help and shell completion of the whole program, which need every command at once."""
    kinds = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items()]
    everything: Any = Union[tuple(kinds)]  # noqa: UP007  (made at run time from the registry)
    with _complaining():
        return tyro.cli(everything, prog="ganatomy", args=arguments, config=_STYLE)


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    """Turn the parser's complaint into an error of one line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            yield
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_one_line(errors.getvalue())) from None


def _default(name: str, rest: list[str]) -> Any:
    """Defaults that depend on the first argument: a recipe's fields, resume's options."""
    if name not in ("train", "resume", "summary"):
        return tyro.MISSING_NONPROP
    if not rest or rest[0].startswith("-"):
        wanted = "run folder" if name == "resume" else "NAME or FILE of a recipe"
        raise ValueError(f"{name} wants the {wanted} first; see: ganatomy {name} --help")
    options = RunOptions()
    if name == "resume":
        from ganatomy.runs.folder import Run

        run = Run.open(Path(rest[0]))
        recipe, options = run.recipe, run.options
    else:
        recipe = read(rest[0])
    given = {word.partition("=")[0] for word in rest}
    for length in ("epochs", "steps"):  # one given on the command line replaces both
        if f"--{length}" in given:
            recipe = recipe.replace(**{length: 1})
    if name == "resume":
        return Resume(run=run.path, recipe=recipe, options=options)
    kind = Train if name == "train" else Summary
    return kind(name=rest[0], recipe=recipe)


def _nearest_flag(word: str, kind: type) -> str:
    if not word.startswith("-"):
        return "(see --help)"
    flags = []
    for name, hint in typing.get_type_hints(kind).items():
        flags += [f"--{n}" for n in (leaves(hint) if dataclasses.is_dataclass(hint) else (name,))]
    meant = "--" + word.lstrip("-").replace("-", "_")
    close = difflib.get_close_matches(meant, flags, n=1)
    return f"(did you mean {close[0]}?)" if close else "(see --help)"


def _one_line(box: str) -> str:
    """Reduce the parser's boxed complaint to its first sentence."""
    lines = [line.strip("│╭╮╰╯ \n") for line in box.splitlines()]
    body = [line for line in lines[1:] if line]
    end = next((i for i, line in enumerate(body) if set(line) == {"─"}), len(body))
    text = " ".join(body[:end])
    return re.sub(r"^Error parsing [\w.]+: ", "", text) or box


def _run(command: Any, arguments: Sequence[str]) -> int:
    """Run a command, if it says so in several processes."""
    started = launch.size()
    if not isinstance(command, Training):
        if started > 1:
            raise ValueError(
                f"{started} processes were started together, which only train and resume take; "
                "run this command without torchrun"
            )
        return command()
    if started > 1 and command.devices not in (1, started):
        raise ValueError(
            f"{started} processes were started, but --devices is {command.devices}; leave it out"
        )
    if command.devices < 1:
        raise ValueError(f"expected --devices of 1 or more, got {command.devices}")
    if started > 1 or command.devices == 1 or not command.trains:
        return command()
    return launch.launch(command.devices, arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for a mistake of the user, 1 for a failure."""
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = lambda message, *_: terminal.complain(f"warning: {message}")
    try:
        if arguments == ["--version"]:
            terminal.say(f"ganatomy {__version__}")
            return 0
        return _run(parse(arguments or ["--help"]), arguments)
    except BrokenPipeError:  # the reader of our output has gone, as in: ganatomy recipes | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        terminal.complain("stopped at once; what was saved before is kept")
        return 130
    except (ValueError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
        if os.environ.get("GANATOMY_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.strerror:
            where = f": {error.filename}" if error.filename else ""
            text = f"{error.strerror}{where}; what was saved before is kept"
        else:
            text = str(error) or type(error).__name__
        # an error that the first process has or knows of is not repeated by the others
        known = isinstance(error, ValueError | ConnectionError | ArithmeticError)
        terminal.complain(text, own=not known)
        return 2 if isinstance(error, ValueError) else 1
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of libraries in Rust, such as safetensors
            raise
        terminal.complain(f"a library failed, maybe for want of memory: {error}")
        return 1
