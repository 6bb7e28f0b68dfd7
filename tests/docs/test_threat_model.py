"""The threat model names every attack, and each test that it names is there."""

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_all_nineteen_attacks_are_named():
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
    assert [int(number) for row in rows for number in row.split(",")] == list(range(1, 20))


def test_each_test_that_is_named_is_there():
    named = re.findall(r"`((?:unit|e2e|faults|judges)/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    for path, name in named:
        source = (ROOT / "tests" / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}: {name}"
