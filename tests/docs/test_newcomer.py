"""A newcomer's run: from a clone to a payment of their own by README.md alone, in a few commands and minutes."""

import re
import subprocess
import time

import pytest

from tests.docs.pages import ROOT, blocks

COMMANDS_MAX = 5
SECONDS_MAX = 180
README = ROOT / "README.md"


def commands():
    """What README.md says to type, and the program for the last of it."""
    [installing] = [block.text for block in blocks(README) if "git clone" in block.text]
    program = next(block.text for block in blocks(README) if block.language == "python")
    return installing.strip().splitlines(), program


def test_a_newcomer_types_few_commands():
    typed, program = commands()
    assert len(typed) <= COMMANDS_MAX
    assert "REPOSITORY" in typed[0]
    assert "create_transfers" in program


@pytest.mark.service
@pytest.mark.timeout(900)
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_newcomer_pays_in_minutes(tmp_path):
    typed, program = commands()
    # Packages come over the network once: how long that takes is not ours to promise, so the clock starts after it.
    *setting_up, running = [line.replace("REPOSITORY", str(ROOT)) for line in typed]
    subprocess.run(["bash", "-ec", "\n".join(setting_up)], cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / re.search(r"cd (\S+)", "\n".join(typed))[1]
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-ec", running], cwd=folder, input=program, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < SECONDS_MAX
    assert (folder / "books" / "journal").is_dir()
    # By exactly the locked packages, and nothing that setting up left in the tree.
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True)
    assert status.stdout.split() == ["??", "books/"]
