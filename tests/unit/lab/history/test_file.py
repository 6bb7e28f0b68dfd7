"""A history survives being written and read, and a file that is none, or was cut off, says so."""

from pathlib import Path

import pytest

from tallystick.errors import Corrupt
from tallystick.lab.history import file
from tallystick.lab.history.calls import End, Wound
from tallystick.lab.history.check import check
from tallystick.records.commands import Kind
from tests.unit.lab.history.story import ALICE, SHOP, WORLD, Story, transfer


def written(path: Path) -> Story:
    story = Story()
    payment = story.asks(1 << 127, Kind.TRANSFER, transfer(11, WORLD, ALICE, 70))
    story.retries(payment)
    story.looks_up(ALICE, SHOP)
    story.looks_up_transfers(11)
    story.reads()
    story.history.wounds.append(Wound(at_ns=5, what="killed the engine"))
    history = story.history
    file.write(path, [*history.calls, *history.reads, *history.wounds, *history.blocks], 42)
    return story


def test_a_history_comes_back_as_it_was_written(tmp_path: Path) -> None:
    story = written(tmp_path / "h")
    found = file.read(tmp_path / "h")
    assert (found.calls, found.reads) == (story.history.calls, story.history.reads)
    assert (found.blocks, found.wounds, found.seed) == (story.history.blocks, story.history.wounds, 42)
    assert check(found).ok


def test_a_history_that_was_cut_off_says_so(tmp_path: Path) -> None:
    written(tmp_path / "h")
    lines = (tmp_path / "h").read_bytes().splitlines(keepends=True)
    (tmp_path / "h").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(Corrupt, match="cut off"):
        file.read(tmp_path / "h")
    (tmp_path / "h").write_bytes(b"".join(lines)[:-5])
    with pytest.raises(Corrupt, match=f"line {len(lines)}"):
        file.read(tmp_path / "h")


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"type":"end"}\n', b'{"type":"start","seed":1,"version":9}\n'])
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "h").write_bytes(content)
    with pytest.raises(Corrupt):
        file.read(tmp_path / "h")


def test_what_a_machine_could_not_do_is_kept(tmp_path: Path) -> None:
    history = file.HistoryFile(tmp_path / "h", 1)
    history.add(End(shortfalls=["could not fill the disk"]))
    history.close()
    assert file.read(tmp_path / "h").shortfalls == ["could not fill the disk"]
