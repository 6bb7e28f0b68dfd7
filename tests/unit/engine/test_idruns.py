import hashlib
import struct
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.engine.idindex import RUNS_MERGED, IdIndex
from tallystick.engine.idruns import HEADER_SIZE, MAGIC, ROW_SIZE, FileRuns, Label, everything
from tallystick.errors import Corrupt, OutcomeUnknown, TallystickError
from tests.unit.engine.id_model import KEY, Model, random_ids

FOLDER = Path("/data/ids")
OTHER_KEY = KEY[::-1].copy()
BLOCK = 16  # ids: each block fills a generation


def model_with_runs(runs, disk=None):
    """A model with so many generations in runs of one level, and one more in the window."""
    model = Model(disk or SimulatedDisk(1), FOLDER)
    random = Random(runs)
    for _ in range(runs + 1):
        model.put(random_ids(random, BLOCK))
    while model.index.covered < runs * BLOCK:
        model.step(1)
    assert model.levels() == [0] * runs
    return model


def path_of(run):
    return FOLDER / run.name


def test_a_file_says_what_its_run_is():
    model = model_with_runs(1)
    (run,) = model.index.runs
    file = model.disk.open(path_of(run))
    data = file.read(0, file.size())
    fields = struct.unpack("<8sHHI32sQQQ4Q", data[:104])
    ids = model.put_at[:BLOCK]
    low = (1 << 64) - 1
    bounds = (min(ids) & low, min(ids) >> 64, max(ids) & low, max(ids) >> 64)
    fingerprint = hashlib.sha256(b"tallystick/id-key\0" + KEY.tobytes()).digest()
    assert fields == (b"TALLYIDS", 1, 0, 0, fingerprint, 0, BLOCK, BLOCK, *bounds)
    assert data[104:136] == hashlib.sha256(data[:104] + data[256:]).digest()
    assert data[136:256] == bytes(120)
    rows = np.frombuffer(data[256:], "<u8").reshape(-1, 2)
    assert (rows[:-1, 0] < rows[1:, 0]).all()
    assert sorted(rows[:, 1].tolist()) == list(range(BLOCK))


def test_a_generation_without_ids_makes_a_run_without_rows():
    disk = SimulatedDisk(1)
    index = IdIndex(KEY, 16, disk, FOLDER)
    index.rotate(5)
    index.rotate(6)
    again = IdIndex(KEY, 16, disk, FOLDER, end=6)
    assert [(run.first, run.stop, run.count) for run in again.runs] == [(0, 5, 0)]


@pytest.mark.parametrize("damaged", [0, 2, 4])
def test_any_flipped_bit_discards_the_run_and_its_successors(damaged):
    random = Random(damaged)
    size = HEADER_SIZE + BLOCK * ROW_SIZE
    every_field = [
        8 * byte + random.randrange(8) for byte in (0, 8, 10, 12, 20, 50, 58, 66, 80, 100, 104, 135, 136, 255)
    ]
    for bit in [*every_field, *(random.randrange(8 * HEADER_SIZE, 8 * size) for _ in range(10)), 8 * size - 1]:
        model = model_with_runs(5)
        model.disk.flip_bit(path_of(model.index.runs[damaged]), bit)
        assert model.reopen() == damaged * BLOCK, bit
        model.check()


@pytest.mark.parametrize("kept", [0, 1, 103, 255, 256, 256 + 15, 256 + 16, 256 + 16 * BLOCK - 1])
def test_a_torn_file_is_discarded_with_its_successors(tmp_path, kept):
    model = Model(SystemDisk(), tmp_path)
    random = Random(kept)
    for _ in range(5):
        model.put(random_ids(random, BLOCK))
    model.step()
    torn = tmp_path / model.index.runs[1].name
    model.index.close()
    torn.write_bytes(torn.read_bytes()[:kept])
    assert model.reopen() == BLOCK
    model.check()


def test_a_file_with_bytes_too_many_is_discarded():
    model = model_with_runs(2)
    last = path_of(model.index.runs[1])
    file = model.disk.open(last, writable=True)
    file.write(file.size(), [bytes(ROW_SIZE)])
    assert model.reopen() == BLOCK
    model.check()


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_missing_file_discards_its_successors(missing):
    model = model_with_runs(4)
    model.disk.remove(path_of(model.index.runs[missing]))
    assert model.start() == missing * BLOCK
    assert len(model.disk.list(FOLDER)) == missing
    model.replay(missing * BLOCK)
    model.check()


def test_a_file_under_another_files_name_is_discarded():
    model = model_with_runs(2)
    first, second = (model.disk.open(path_of(run)).read(0, 10_000) for run in model.index.runs)
    for run, data in zip(model.index.runs, (second, first), strict=True):
        model.disk.open(path_of(run), writable=True).write(0, [data])
    assert model.reopen() == 0
    model.check()


def test_a_disk_that_cannot_read_a_run_has_it_made_again():
    model = model_with_runs(3)
    model.disk.inject(Fault.READ_ERROR, after=4)
    assert model.reopen() < 3 * BLOCK
    model.check()


def test_runs_made_under_another_key_are_discarded():
    model = model_with_runs(3)
    model.key = OTHER_KEY
    assert model.reopen() == 0
    model.check()


def test_a_version_of_the_future_is_discarded():
    model = model_with_runs(2)
    first = path_of(model.index.runs[0])
    file = model.disk.open(first, writable=True)
    data = bytearray(file.read(0, file.size()))
    data[:10] = MAGIC + struct.pack("<H", 2)
    data[104:136] = hashlib.sha256(data[:104] + data[256:]).digest()
    file.write(0, [bytes(data)])
    assert model.reopen() == 0


def test_a_run_past_the_journals_end_is_discarded_for_good():
    """Its entries were lost before they were durable: other ids stand at those positions by now."""
    model = model_with_runs(3)
    lost = model.put_at[3 * BLOCK - 1 :]
    del model.put_at[3 * BLOCK - 1 :]
    assert model.reopen(model.disk.kill()) == 2 * BLOCK
    model.put(random_ids(Random(99), BLOCK))
    assert model.reopen(model.disk.cut()) == 2 * BLOCK
    model.check()
    assert model.found(lost) == set()


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    other = tmp_path / "key"
    other.write_bytes(b"secret")
    model = Model(SystemDisk(), tmp_path)
    model.put(random_ids(Random(1), BLOCK))
    model.reopen()
    assert other.read_bytes() == b"secret"


def test_a_run_is_read_from_its_file_after_the_name_is_gone(tmp_path):
    """A merge deletes files that a look-up may be reading."""
    model = Model(SystemDisk(), tmp_path)
    random = Random(1)
    for _ in range(4):
        model.put(random_ids(random, BLOCK))
    model.step()
    for run in model.index.runs:
        (tmp_path / run.name).unlink()
    model.check()


def operations_of(model, work):
    before = model.disk.machine.operations
    work()
    return model.disk.machine.operations - before


def test_power_cut_at_any_point_of_a_build_loses_nothing():
    whole = model_with_runs(2)
    whole.put(random_ids(Random(5), BLOCK))
    assert whole.index.covered == 2 * BLOCK
    operations = operations_of(whole, whole.step)
    assert operations >= 4
    covered = set()
    for after in range(operations):
        model = model_with_runs(2, SimulatedDisk(after))
        model.put(random_ids(Random(5), BLOCK))
        model.disk.cut_after(after)
        with pytest.raises(PowerCut):
            model.step()
        covered.add(model.reopen(model.disk.cut()))
        model.check()
        model.step()
        model.check()
    assert covered == {2 * BLOCK, 3 * BLOCK}


@pytest.mark.parametrize("seed", range(5))
def test_power_cut_at_any_point_of_a_merge_leaves_the_eight_or_the_one(seed):
    whole = model_with_runs(RUNS_MERGED)
    operations = operations_of(whole, whole.step)
    assert whole.levels() == [1]
    assert operations >= 4 + RUNS_MERGED
    seen = set()
    for after in range(operations):
        model = model_with_runs(RUNS_MERGED, SimulatedDisk(100 * seed + after))
        model.disk.cut_after(after)
        with pytest.raises(PowerCut):
            model.step()
        assert model.reopen(model.disk.cut()) == RUNS_MERGED * BLOCK
        seen.add(tuple(model.levels()))
        model.check()
        model.step()
        assert model.levels() == [1]
        model.check()
        assert len(model.disk.list(FOLDER)) == 1
    assert seen == {(0,) * RUNS_MERGED, (1,)}


@pytest.mark.parametrize("slices", range(6))
def test_a_kill_between_any_two_slices_of_a_merge_leaves_the_eight_or_the_one(slices):
    model = model_with_runs(RUNS_MERGED)
    model.step(slices)
    assert model.reopen(model.disk.kill()) == RUNS_MERGED * BLOCK
    assert tuple(model.levels()) in {(0,) * RUNS_MERGED, (1,)}
    model.check()


def test_a_merged_file_that_is_damaged_is_made_up_for_by_the_eight():
    model = model_with_runs(RUNS_MERGED)
    while len(model.levels()) > 1:
        assert len(model.levels()) == RUNS_MERGED
        model.step(1)
    model.disk.flip_bit(path_of(model.index.runs[0]), 8 * 300)
    assert len(model.disk.list(FOLDER)) == RUNS_MERGED + 1
    assert model.reopen() == RUNS_MERGED * BLOCK
    assert model.levels() == [0] * RUNS_MERGED
    model.check()


@pytest.mark.parametrize("fault", [Fault.SYNC_ERROR, Fault.FOLDER_SYNC_ERROR, Fault.WRITE_SHORT, Fault.WRITE_ERROR])
def test_a_merge_that_the_disk_fails_replaces_nothing(fault):
    model = model_with_runs(RUNS_MERGED)
    model.disk.inject(fault)
    with pytest.raises(OutcomeUnknown):
        model.step()
    model.check()
    assert model.reopen(model.disk.cut()) == RUNS_MERGED * BLOCK
    model.check()


def test_a_run_that_does_not_read_back_replaces_nothing():
    model = model_with_runs(RUNS_MERGED)
    model.disk.inject(Fault.READ_ZEROS)
    with pytest.raises(Corrupt, match="does not read back"):
        model.step()
    assert model.levels() == [0] * RUNS_MERGED
    assert len(model.disk.list(FOLDER)) >= RUNS_MERGED
    model.check()


@pytest.mark.parametrize("seed", range(8))
def test_on_a_disk_that_fails_all_the_time_every_id_is_found_after_each_restart(seed):
    random = Random(seed)
    chances = dict.fromkeys(Fault, 0.01)
    model = Model(SimulatedDisk(seed, chances), FOLDER)
    restarts = 0
    for _ in range(40):
        try:
            if random.random() < 0.05:
                model.disk.cut_after(random.randrange(10))
            model.put(random_ids(random, random.randrange(1, 2 * BLOCK)))
            model.step(random.randrange(10))
        except (TallystickError, PowerCut):
            restarts += 1
            _restart(model, random)
            model.check()
    model.check()
    assert restarts > 0


def _restart(model, random):
    """Until it succeeds, as a supervisor does; the disk fails meanwhile, and some of the time the power too."""
    while True:
        disk = model.disk.cut() if random.random() < 0.5 else model.disk.kill()
        disk.machine.cut_at = None
        try:
            model.reopen(disk)
        except TallystickError:
            model.disk = disk
        else:
            return


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads proc(5)")
def test_a_run_that_was_checked_and_merged_keeps_none_of_its_file_in_memory(tmp_path):
    def mapped_mb():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024

    runs = FileRuns(SystemDisk(), tmp_path, KEY)
    rows = np.arange(2 << 20, dtype="<u8").reshape(-1, 2)  # 16 MiB
    kept, before = [], 0.0
    for number in range(4):
        if number == 1:  # what was compiled, and loaded for that, is mapped by now
            before = mapped_mb()
        label = Label(number * 100, number * 100 + 100, 0, len(rows), everything())
        writer = runs.writer(label)
        writer.add(rows)
        finishing = writer.finish()
        while True:
            try:
                next(finishing)
            except StopIteration as end:
                kept.append(end.value)
                break
        writer.close()
    assert int(kept[1].rows[5, 1]) == 11
    assert mapped_mb() - before < 4
    assert sum(int(run.rows[:, 0].max()) for run in kept) > 0  # touches all of it
    assert mapped_mb() - before > 40
    for run in kept:
        run.forget()
    assert mapped_mb() - before < 4
