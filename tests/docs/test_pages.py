"""What the pages point at exists: links, files, Makefile targets, commands, settings, generated tables."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.gateway import problems
from tallystick.settings import Settings
from tests.docs.pages import PAGES, ROOT, prose, relative

SOURCE = ROOT / "src" / "tallystick"
# docs/design.md is the plan of the whole: it names what does not stand yet.
BUILT = [page for page in PAGES if page.name != "design.md"]
WHOLE = "\n".join(page.read_text(encoding="utf-8") for page in BUILT)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(page))
    missing = [
        target
        for target in targets
        if not target.startswith(("https://", "mailto:")) and not (page.parent / target).exists()
    ]
    assert missing == []


def anchors(page):
    """What a link into the page may name: its headings, spelt as GitHub and the site spell them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_anchor_is_a_heading(page):
    targets = re.findall(r"\]\(([^)#\s]*\.md)?#([\w-]+)\)", prose(page))
    assert [
        f"{path}#{anchor}" for path, anchor in targets if anchor not in anchors(page.parent / path if path else page)
    ] == []


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=relative)
def test_every_file_that_is_named_exists(page):
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", prose(page))
    places = (ROOT, SOURCE, ROOT / "docs" / "adr")
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
    assert named


def test_every_package_has_its_place_in_the_architecture():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in SOURCE.glob("*/__init__.py")]
    modules = [path.name for path in SOURCE.glob("*.py") if path.name != "__init__.py"]
    assert [name for name in packages if f"`{name}/`" not in text] == []
    assert [name for name in modules if f"{name}`" not in text] == []


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", WHOLE, re.MULTILINE))
    assert {"demo", "test", "check"} <= named <= targets


def test_every_make_target_says_what_it_does():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    wanted = {"setup", "demo", "test", "test-all", "check", "bench", "docs", "site", "mutants"}
    assert wanted <= set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))


def test_every_command_that_is_named_exists():
    named = set(re.findall(r"`tally ([a-z]+)", WHOLE))
    shown = subprocess.run(
        [sys.executable, "-m", "tallystick.cli.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert named
    assert [name for name in named if not re.search(rf"\b{name}\b", shown)] == []


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        row = f"| `TALLY_{name.upper()}` | {'–' if default is None else f'`{default}`'} |"
        assert row in text
        assert field.description in text


def test_every_environment_variable_of_ours_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    used = {
        found
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for found in re.findall(r"\bTALLY_[A-Z_]*[A-Z]\b", node.value)
    }
    assert [name for name in sorted(used) if f"`{name}`" not in text] == []


def test_the_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_page_and_no_source_names_a_folder_of_somebody_s_machine():
    paths = [*PAGES, *SOURCE.rglob("*.py"), *Path(ROOT / "tests").rglob("*.py"), ROOT / "Makefile"]
    homes = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    assert [relative(path) for path in paths if homes.search(path.read_text(encoding="utf-8"))] == []


def test_every_problem_that_is_answered_has_its_section():
    page = ROOT / "docs" / "problems.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in problems.BY_NAME if name not in text] == []
