"""The table of docs/webhooks.md is the table of the code, and so are its numbers."""

import re

from tallystick.notifier.schedule import DELAYS_S
from tallystick.webhooks.types import TABLE
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_every_type_is_documented_as_the_code_has_it():
    rows = [f"| `{row.type}` | {row.meaning} | {', '.join(f'`{name}`' for name in row.fields)} |" for row in TABLE]
    assert [row for row in PAGE.splitlines() if re.match(r"\| `\w+\.\w+` \|", row)] == rows


def test_the_schedule_is_documented_as_the_code_has_it():
    words = {1: "{} s", 60: "{} min", 3600: "{} h"}
    said = []
    for seconds in DELAYS_S[1:]:
        unit = max(each for each in words if seconds % each == 0)
        said.append(words[unit].format(seconds // unit))
    assert f"{', '.join(said[:-1])} and {said[-1]} more" in " ".join(PAGE.split())
