"""How much it takes, and which versions there are: the pages say what the code says."""

import re

from tallystick.backup import manifest
from tallystick.blockfile.segments import SECTOR, padded
from tallystick.engine import snapshot_files
from tallystick.measures import file
from tallystick.records import blocks, commands, details, entries
from tests.docs.pages import ROOT


def test_the_upgrade_page_names_the_versions_of_the_code():
    page = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", page, re.MULTILINE))
    versions = {
        "command": commands.VERSION,
        "entry": entries.VERSION,
        "details": details.VERSION,
        "block": blocks.VERSION,
        "snapshot": snapshot_files.VERSION,
        "backup manifest": manifest.VERSION,
        "measures": file.VERSION,
    }
    assert told == {name: str(version) for name, version in versions.items()}


def test_the_capacity_page_counts_as_the_layouts_do():
    page = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    row = entries.ENTRY_SIZE + details.DETAILS_SIZE
    least = blocks.HEADER_SIZE + row
    assert f"entry and details | {row} |" in page
    assert f"{least} to {least + SECTOR - 1}, and {blocks.LANE_SIZE} a lane" in page
    assert f"a command in the intake | {commands.COMMAND_SIZE} |" in page
    assert f"{blocks.HEADER_SIZE} to {blocks.HEADER_SIZE + SECTOR - 1} |" in page
    day = 86_400 * 1_000
    assert f"{day * row / 1e9:.0f} GB of journal and {day * commands.COMMAND_SIZE / 1e9:.0f} GB of intake" in page
    alone = padded(least + row + 2 * blocks.LANE_SIZE)
    assert (
        f"{alone:,} bytes\nin the journal, {padded(blocks.HEADER_SIZE + commands.COMMAND_SIZE)} in the intake" in page
    )


def test_every_command_that_answers_a_question_exists():
    page = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    source = (ROOT / "src" / "tallystick" / "cli" / "bench.py").read_text(encoding="utf-8")
    benches = set(re.findall(r"`tally bench ([a-z]+)`", page))
    assert len(benches) >= 6
    assert benches <= set(re.findall(r'@app.command\("([a-z]+)"', source))
