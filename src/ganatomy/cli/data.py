"""ganatomy data check."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from ganatomy.cli import terminal
from ganatomy.cli.output import Command

if TYPE_CHECKING:
    from ganatomy.data.inspection import Findings


@dataclass(frozen=True, kw_only=True)
class Data(Command):
    """Inspect a folder or archive of images, and list what training on it needs.

    The exit code is 0 if all images can be used as they are, otherwise 1.
    """

    action: Annotated[Positional[Literal["check"]], arg(metavar="check")]
    """inspect; nothing is changed or unpacked"""
    path: Annotated[Positional[Path], arg(metavar="DIR|ARCHIVE")]
    """a folder, zip, tar, npz, HDF5 or parquet of images"""

    convert: Literal["none", "white", "black"] = "none"
    """background on which images that are not 8-bit gray or RGB would be converted"""

    def call(self) -> Any:
        """Inspect."""
        from ganatomy.data.inspection import inspect

        return inspect(self.path, quiet=self.json, convert=self.convert)

    def show(self, result: Any) -> None:
        """Print the findings."""
        _show(result)

    def code(self, result: Any) -> int:
        """1 if something must be done before training."""
        return int(bool(result.todo))


def _show(found: "Findings") -> None:
    rows = [("images", f"{found.images:,} in {found.path}")]
    for part, kinds in found.splits.items():
        if len(found.used) > 1 or part:
            count = f"{sum(kinds.values()):,}"
            unused = " (not used)" if found.used[part] == "nothing" else ""
            rows.append((part or "in no split", count + unused))
        rows.append(("  classes", _counts(kinds) if len(kinds) > 1 else "none"))
    rows += [
        ("formats", _counts(found.formats)),
        ("modes", _counts(found.modes)),
        ("turned upright", f"{found.turned:,} by EXIF orientation" if found.turned else "none"),
        ("sizes", _counts(found.sizes)),
        ("copies", _pairs(found.copies, found.copy_pairs)),
    ]
    if found.distinct_sizes > len(found.sizes):
        rows.append(("other sizes", f"{found.distinct_sizes - len(found.sizes):,}"))
    if "test" in found.used.values():
        rows.append(("copies across splits", _pairs(found.leaks, found.leak_pairs)))
    rows += [
        ("cannot be used", f"{found.bad:,}"),
        ("other files", _counts(found.others) or "none"),
    ]
    terminal.table(("what", "found"), rows)
    for note in found.notes:
        terminal.say(f"note: {note}")
    _show_todo(found)


def _show_todo(found: "Findings") -> None:
    if found.bad:
        terminal.say("")
        terminal.table(("cannot be used", "because it"), list(found.bad_examples.items()))
        if found.bad > len(found.bad_examples):
            terminal.say(f"and {found.bad - len(found.bad_examples):,} more")
    if not found.todo:
        terminal.say("\nall can be used as they are")
        return
    terminal.say("\nbefore training:")
    for line in found.todo:
        terminal.say(f"  {line}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'in none'}: {count:,}" for name, count in counts.items())


def _pairs(count: int, pairs: list[tuple[str, str]]) -> str:
    if not count:
        return "none"
    listed = "; ".join(f"{first} = {second}" for first, second in pairs)
    return f"{count:,}: {listed}{'; …' if count > len(pairs) else ''}"
