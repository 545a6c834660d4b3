"""A page: one HTML file without scripts, for screen, phone and print."""

import functools
import os
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganatomy.storage.files import write_atomic

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True, repr=False)
class Page:
    """A self-contained HTML page. In a notebook it shows itself."""

    html: str
    """the whole document"""

    @property
    def title(self) -> str:
        """Title of the document."""
        return unescape(self.html.partition("<title>")[2].partition("</title>")[0])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file ending in .html and return its path.

        The file is replaced in one step; missing folders are made.

        Raises:
            ValueError: if the name ends in something else.
        """
        file = Path(path)
        if file.suffix != ".html":
            raise ValueError(f"a page is an .html file, got {file}")
        write_atomic(file, self.html.encode())
        return file

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r}, {len(self.html.encode()) / 1e6:.2f} MB)"

    def _repr_html_(self) -> str:
        """Return the page in a frame, so that neither its styles nor the notebook's leak."""
        style = "width: 100%; height: 80vh; border: 1px solid #8888; border-radius: 6px"
        return f'<iframe srcdoc="{escape(self.html)}" style="{style}"></iframe>'


def render(template: str, **values: Any) -> Page:
    """Return the page that a template of this package makes of some values."""
    return Page(_templates().get_template(template).render(values))


@functools.cache
def _templates() -> "jinja2.Environment":
    import jinja2

    loader = jinja2.PackageLoader("ganatomy", "pages")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
