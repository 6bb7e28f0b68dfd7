from pathlib import Path

import numpy as np
import pytest

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.engine.snapshot_files import FileSnapshots, Label, MemorySnapshots, Summary, TableSummary
from tallystick.errors import Corrupt


def always(label, summary):
    return True


@pytest.fixture(params=["files", "memory"])
def snapshots(request):
    return FileSnapshots(SimulatedDisk(1), Path("/data")) if request.param == "files" else MemorySnapshots()


def write(snapshots, first, stop, numbers, value, count=None):
    """One part with a table of two words a row, every row being `value`."""
    numbers = np.array(numbers, "<u8")
    rows = np.full((len(numbers), 2), value, "<u8")
    count = len(numbers) if count is None else count
    summary = Summary("layout", b"hash", 5, b"", (TableSummary("rows", 16, count, len(numbers)),))
    body = [rows.tobytes()] if first == 0 else [numbers.tobytes(), rows.tobytes()]
    writing = snapshots.write(Label(first, stop), summary, body)
    while True:
        try:
            next(writing)
        except StopIteration as end:
            return end.value


def labels(parts):
    return [(part.label.first, part.label.stop) for part in parts]


def test_parts_come_back_as_they_were_written(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1, 3], 2, count=5)
    base, increment = snapshots.load(20, always, print)
    assert labels((base, increment)) == [(0, 10), (10, 20)]
    assert base.numbers("rows").tolist() == [0, 1, 2, 3, 4]
    assert increment.numbers("rows").tolist() == [1, 3]
    assert increment.rows("rows", 1, 2).tolist() == [[2, 2]]
    assert increment.summary.tables[0].count == 5


def test_the_longest_chain_without_a_gap_is_taken(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1], 2)
    write(snapshots, 20, 30, [1], 2)
    write(snapshots, 0, 20, range(5), 3)  # merged
    write(snapshots, 40, 50, [1], 2)  # behind a gap
    assert labels(snapshots.load(100, always, print)) == [(0, 20), (20, 30)]


def test_no_part_past_the_journals_end_is_taken(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1], 2)
    assert labels(snapshots.load(19, always, print)) == [(0, 10)]


def test_a_part_that_does_not_fit_ends_the_chain(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1], 2)
    assert labels(snapshots.load(20, lambda label, summary: label.first == 0, print)) == [(0, 10)]


def test_what_a_base_replaced_is_known_until_it_is_removed(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1], 2)
    base = write(snapshots, 0, 20, range(5), 3)
    assert sorted((label.first, label.stop) for label in snapshots.superseded(base.label)) == [(0, 10), (10, 20)]
    snapshots.remove(snapshots.superseded(base.label))
    assert snapshots.superseded(base.label) == []
    assert labels(snapshots.load(20, always, print)) == [(0, 20)]


def test_a_writing_that_was_given_up_leaves_nothing_that_counts(snapshots):
    write(snapshots, 0, 10, range(5), 1)
    summary = Summary("layout", b"hash", 5, b"", (TableSummary("rows", 16, 5, 5),))
    writing = snapshots.write(Label(0, 20), summary, [bytes(40), bytes(40)])
    next(writing)
    writing.close()
    assert labels(snapshots.load(20, always, print)) == [(0, 10)]


@pytest.mark.parametrize("bit", [0, 70, 8 * 40, 8 * 100, 8 * 130, 8 * 200, -1])
def test_a_part_with_a_changed_bit_is_told_and_not_used_and_what_lies_before_it_is(bit):
    disk = SimulatedDisk(1)
    snapshots = FileSnapshots(disk, Path("/data"))
    write(snapshots, 0, 10, range(5), 1)
    part = write(snapshots, 10, 20, [1, 2, 4], 2)
    disk.flip_bit(Path("/data") / part.label.name, bit % (8 * part.size))
    said = []
    assert labels(snapshots.load(20, always, said.append, sweep=False)) == [(0, 10)]
    assert part.label.name in said[0]
    with pytest.raises(Corrupt):
        list(part.verified())
    snapshots.load(20, always, said.append)
    assert part.label.name not in disk.list(Path("/data"))


def test_a_damaged_base_falls_back_to_the_chain_it_was_merged_from():
    disk = SimulatedDisk(1)
    snapshots = FileSnapshots(disk, Path("/data"))
    write(snapshots, 0, 10, range(5), 1)
    write(snapshots, 10, 20, [1], 2)
    base = write(snapshots, 0, 20, range(5), 3)
    disk.flip_bit(Path("/data") / base.label.name, 8 * 300)
    assert labels(snapshots.load(20, always, print)) == [(0, 10), (10, 20)]
