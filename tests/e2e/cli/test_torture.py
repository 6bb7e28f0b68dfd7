"""`tally torture`, short, and its judge on a file: a true history passes, a false one does not."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.lab.history import file
from tallystick.lab.history.calls import Block
from tallystick.lab.instance import tally
from tallystick.records.commands import Kind
from tests.unit.lab.history.story import ALICE, SHOP, WORLD, Story, transfer


def run(*words: str, seconds: float = 110) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(tally("torture", *words), capture_output=True, text=True, timeout=seconds)
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else {}, done.stderr


def test_a_true_history_passes_and_a_false_one_does_not(tmp_path: Path) -> None:
    story = Story()
    story.asks(1, Kind.TRANSFER, transfer(11, WORLD, ALICE, 70))
    story.looks_up(ALICE, SHOP)
    history = story.history
    file.write(tmp_path / "h", [*history.calls, *history.blocks], 42)
    code, report, told = run("check", str(tmp_path / "h"), "--json")
    assert (code, report["lost"], report["seed"], report["entries"]) == (0, 0, 42, 6), told
    assert "lost 0, doubled 0, contradicted 0" in told
    lost = [block for block in history.blocks if block.first == 0]
    file.write(tmp_path / "h", [*history.calls, *lost], 42)
    code, report, told = run("check", str(tmp_path / "h"), "--json")
    assert (code, report["lost"], report["ok"]) == (1, 1, False)
    assert "acknowledged, but not in the journal" in told


def test_a_file_that_is_no_history_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("no history\n")
    done = subprocess.run(tally("torture", "check", str(tmp_path / "h")), capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert "line 1" in done.stderr


@pytest.mark.service
@pytest.mark.timeout(320)  # a first start compiles the kernel
def test_twenty_seconds_of_torture_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, report, told = run("--seconds", "20", "--seed", "1", "--data", str(data), "--json", seconds=300)
    assert code == 0, told[-3000:] + str(report)
    assert (report["lost"], report["doubled"], report["contradicted"], report["seed"]) == (0, 0, 0, 1)
    assert (report["faults"], report["unexpected"], report["shortfalls"]) == ([], [], [])
    assert report["kills"] > 0
    assert report["acknowledged"] > 100
    assert report["look_ups"] > 100
    # The same history, judged offline; and with one entry altered, found out.
    assert run("check", report["history"], "--json")[0] == 0
    history = file.read(Path(report["history"]))
    block = history.blocks[len(history.blocks) // 2]
    altered = msgspec.structs.replace(block, entries=block.entries[:6] + b"\x01\x00" + block.entries[8:])
    blocks = [altered if each is block else each for each in history.blocks if isinstance(each, Block)]
    file.write(tmp_path / "h", [*history.calls, *history.reads, *blocks], 1)
    assert run("check", str(tmp_path / "h"))[0] == 1
