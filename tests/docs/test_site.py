"""The site: built with warnings as errors, with no dead link or anchor, and nothing that a reader's browser fetches
from elsewhere. And the API's reference, which stands nowhere but there."""

import importlib.util
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("use", "href")}


class Html(HTMLParser):
    """What a page links to, what it has a browser fetch, and which anchors it has."""

    def __init__(self):
        super().__init__()
        self.links, self.fetched, self.anchors = [], [], set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in FETCHED:
                self.fetched.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)


def read(path):
    page = Html()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def dead(site):
    """Links of a built site that lead nowhere, and what is fetched from elsewhere."""
    pages = {path: read(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site).as_posix()
        found += [f"{where} fetches {each}" for each in page.fetched if urlsplit(each).netloc]
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{where}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where}: {link} (no such anchor)")
    return found


@pytest.mark.service
@pytest.mark.timeout(300)
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="Sphinx is not installed: make site")
def test_the_site_is_built_without_a_warning_and_no_link_in_it_is_dead(tmp_path):
    words = ["--quiet", "--fail-on-warning", "--keep-going", "-c", "docs", "-d", tmp_path / "trees", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *words, ".", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert dead(tmp_path / "site") == []
    pages = {path.relative_to(tmp_path / "site").with_suffix("") for path in (tmp_path / "site").rglob("*.html")}
    sources = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert sources - pages <= {Path("docs/adr/0000-template")}
    concepts = (tmp_path / "site" / "docs" / "concepts.html").read_text(encoding="utf-8")
    assert concepts.count('<svg class="picture"') == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('<a href="b.html">', "a.html: b.html"),
        ('<a href="a.html#there">', "a.html: a.html#there (no such anchor)"),
        ('<img src="b.svg">', "a.html: b.svg"),
        ('<link href="https://fonts.example/a.css">', "a.html fetches https://fonts.example/a.css"),
        ('<p id="here"><a href="#here"><a href="https://example.com">', None),
    ],
)
def test_the_search_for_dead_links_finds_them(tmp_path, line, told):
    (tmp_path / "a.html").write_text(line)
    assert dead(tmp_path) == ([told] if told else [])


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("apireference", ROOT / "docs" / "apireference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_path_parameter_answer_and_schema(reference):
    document = reference.description()
    text = reference.markdown(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _, _, rest = text.partition(f"### `{method.upper()} {path}`\n")
            section = rest.partition("\n### ")[0]
            assert operation["summary"] in section
            assert all(f"| {status} |" in section for status in operation["responses"])
            named = [each["name"] for each in operation["parameters"] if each["in"] != "path"]
            assert all(f"| `{name}` |" in section for name in named)
    for name, schema in document["components"]["schemas"].items():
        section = text.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert all(f"| `{field}` |" in section for field in schema.get("properties", ()))


def test_the_reference_links_each_problem_to_its_section(reference):
    assert "[`refused`](problems.md#refused): " in reference.markdown(reference.description())
