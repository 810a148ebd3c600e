"""How Sphinx turns build/site-source, which docs/pages.py writes, into the site: offline, and without one warning."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
COURSE = tomllib.loads((ROOT / "course.toml").read_text(encoding="utf-8"))["course"]

project, author, release = COURSE["title"], "The course authors", COURSE["tag"].removeprefix("v")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["released"]

nb_execution_mode = "off"  # docs/pages.py has run them
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 2
autodoc_member_order = "bysource"
suppress_warnings = ["ref.python"]  # two chapters may each have a class Plan, and annotations say which by import

html_theme, html_title = "furo", COURSE["title"]
html_static_path = ["static", str(ROOT / "build" / "site-source" / "static")]
html_css_files, html_favicon = ["course.css"], "static/favicon.svg"
html_show_copyright, html_show_sphinx, html_copy_source = False, False, False  # only the released notebook is offered
pygments_style, pygments_dark_style = "friendly", "github-dark"
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}


def plain(text: str) -> str:
    """One line of a docstring in plain style as reStructuredText: code stays code, other signs mean nothing."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([\\*|_`])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"\\ `{part}`\\ " for part in parts[1::2]]
    return "".join(parts)


def as_paragraphs(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Paragraphs stay paragraphs; what is indented, a table or an example, is shown as it stands."""
    text, inside = [], False
    for line in lines:
        block = line.startswith((" ", ">>>")) or (inside and bool(line))
        if block and not inside:
            text += ["", "::", ""]
        text.append(f"   {line}" if block else plain(line))
        inside = block
    lines[:] = text


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", as_paragraphs)
