"""How Sphinx makes the site of these pages: `make site`. Sources are the Markdown files of the repository, as they are.

Four things are done on the way: the API's reference is written from the gateway's own OpenAPI document, pictures are
put into the page itself so that they follow its colours, pages that no list of contents names are listed, and links to
pages that are HTML already (docs/pages) open them.
"""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import apireference  # noqa: E402  (beside this file, which Sphinx runs, not imports)

project = "Tallystick"
author = "the Tallystick authors"
copyright = "the Tallystick authors, Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "build", "dist", "src", "tests", "docs/adr/0000-template.md"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "Tallystick"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["pages"]
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5fd3a8", "color-brand-content": "#5fd3a8"},
}

API_PLACE = "<!-- Here stands the reference, made from the gateway's OpenAPI document. -->"
OTHERS_PLACE = "<!-- Here stand the pages that are named nowhere above. -->"
NO_PAGES_OF_THEIR_OWN = {"docs/index", "docs/adr/0000-template"}


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what is generated where a page says so."""
    if name == "docs/api":
        source[0] = _replaced(source[0], API_PLACE, apireference.markdown(apireference.description()))
    elif name == "docs/index":
        pages = {path.relative_to(ROOT).with_suffix("").as_posix() for path in HERE.glob("*.md")}
        named = set(re.findall(r"^/(\S+)$", source[0], re.MULTILINE))
        others = sorted(pages - named - NO_PAGES_OF_THEIR_OWN)
        source[0] = _replaced(source[0], OTHERS_PLACE, "\n".join(f"/{page}" for page in others))


def _replaced(text: str, place: str, content: str) -> str:
    if place not in text:
        raise ValueError(f"a page has lost its line {place!r}")
    return text.replace(place, content)


def inline_pictures(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Make each SVG picture a part of its page: as a file of its own it would not know which colours are chosen."""
    for image in list(doctree.findall(nodes.image)):
        path = ROOT / image["uri"]
        if path.suffix == ".svg" and path.is_relative_to(HERE / "pictures"):
            image.replace_self(nodes.raw("", path.read_text(encoding="utf-8"), format="html"))


def open_pages(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Make each link to a page of docs/pages, which stand at the site's root, open it: Sphinx would have it saved."""
    for link in list(doctree.findall(addnodes.download_reference)):
        if Path(link["reftarget"]).parent.name == "pages":
            target = "../" * name.count("/") + Path(link["reftarget"]).name
            link.replace_self(nodes.reference("", "", *link.children, refuri=target, internal=True))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    app.connect("doctree-resolved", inline_pictures)
    app.connect("doctree-resolved", open_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
