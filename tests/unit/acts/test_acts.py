"""Logs of acts in real files: numbered densely whoever writes, refused when not kept, found if edited."""

import sqlite3
import threading

import pytest

from tallystick.acts.entries import Act, encode, shown
from tallystick.acts.sqlite import SqliteActs, copied
from tallystick.auditor.acts import ActLogReader, ActSequencer
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.serving import PUBLISHED, STATE, TREE
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.errors import Corrupt, Damaged, InvalidProof, Unavailable
from tallystick.signer.several import Several
from tallystick.signer.signing import Signing
from tallystick.tlog import merkle
from tallystick.tlog.auditing import check_whole
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.notes import parse_note
from tests.unit.tlog.trees import ORIGIN, key, naive_root

DISK = SystemDisk()


def act(number):
    return encode(
        Act(
            act="statement", at_ns=1_700_000_000_000_000_000 + number, by="key:0123456789abcdef", via="gateway",
            nonce=number.to_bytes(16, "big"), tenant=7, target=f"acc-{number}", result="200",
        )
    )  # fmt: skip


class Log:
    def __init__(self, folder, acts=None):
        self.folder = folder
        self.acts = acts or SqliteActs(folder / "access.db")
        self.start()

    def start(self):
        self.levels = LevelFiles(self.folder / TREE, DISK)
        self.sequencer = ActSequencer(self.acts, self.levels, Slots(self.folder / STATE, DISK))
        signing = Signing(ORIGIN, lambda: [key()], Slots(self.folder / "signed", DISK), SystemClock())
        published = Slots(self.folder / PUBLISHED, DISK)
        self.publisher = Publisher(ORIGIN, self.levels, signing, published, SystemClock())
        self.reader = ActLogReader(self.folder, DISK, self.acts)

    def publish(self):
        while self.sequencer.step():
            pass
        self.publisher.publish()
        return parse_checkpoint(parse_note(self.reader.checkpoint()).text)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def test_an_acts_bytes_have_one_form_and_no_name():
    assert act(1) == (
        b'{"act":"statement","at":"1700000000000000001","by":"key:0123456789abcdef",'
        b'"nonce":"00000000000000000000000000000001","result":"200","target":"acc-1","tenant":"7","v":1,"via":"gateway"}'
    )
    assert shown(act(1))["target"] == "acc-1"
    with pytest.raises(Corrupt):
        shown(b'{"v":2}')


def test_processes_that_write_beside_each_other_are_numbered_without_a_hole(tmp_path):
    def write(writer):
        log = SqliteActs(tmp_path / "access.db")
        for number in range(20):
            log.append([act(100 * writer + number), act(100 * writer + number + 50)])
        log.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = SqliteActs(tmp_path / "access.db")
    assert log.end() == len(log.read(0, 1000)) == 120
    assert len(set(log.read(0, 1000))) == 120


def test_every_act_is_a_leaf_and_the_log_verifies(log):
    entries = [act(number) for number in range(300)]
    log.acts.append(entries[:257])
    assert log.publish().size == 257
    log.acts.append(entries[257:])
    log.start()
    found = log.publish()
    assert found.root == naive_root([merkle.leaf_hash(entry) for entry in entries])
    check_whole(found, log.reader.tile)


def test_an_edited_act_is_named(log):
    """Attack 1, on a real database."""
    log.acts.append([act(number) for number in range(10)])
    checkpoint = log.publish()
    with sqlite3.connect(log.folder / "access.db") as database:
        database.execute("UPDATE acts SET entry = ? WHERE number = 6", (act(66),))
    with pytest.raises(InvalidProof, match="entry 6"):
        check_whole(checkpoint, log.reader.tile)


@pytest.mark.parametrize("gone", ["number = 6", "number >= 6"])
def test_a_deleted_act_is_noticed(log, gone):
    """Attack 3, on a real database."""
    log.acts.append([act(number) for number in range(10)])
    checkpoint = log.publish()
    with sqlite3.connect(log.folder / "access.db") as database:
        database.execute(f"DELETE FROM acts WHERE {gone}")
    with pytest.raises(Corrupt):
        check_whole(checkpoint, log.reader.tile)
    if gone == "number >= 6":
        with pytest.raises(Corrupt, match="only 6 are there"):
            log.sequencer.step()


def test_a_log_that_was_deleted_or_replaced_takes_no_more_acts(log, tmp_path):
    """Attack 15: the writer is disabled by taking its file away."""
    log.acts.append([act(1)])
    (tmp_path / "access.db").rename(tmp_path / "elsewhere.db")
    for attempt in (log.acts.end, lambda: log.acts.append([act(2)])):
        with pytest.raises(Unavailable, match="gone"):
            attempt()
    with pytest.raises(Unavailable):
        SqliteActs(tmp_path / "access.db", create=False)
    SqliteActs(tmp_path / "access.db").append([act(3)])
    with pytest.raises(Unavailable, match="another file"):
        log.acts.append([act(2)])


def test_a_file_that_is_no_log_of_acts_is_told(tmp_path):
    (tmp_path / "access.db").write_bytes(b"something else" * 100)
    with pytest.raises(Corrupt):
        SqliteActs(tmp_path / "access.db")


def test_a_damaged_tree_is_made_again(log):
    log.acts.append([act(number) for number in range(10)])
    log.publish()
    path = log.folder / TREE / "level-0"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Damaged):
        log.start()
    log.start()
    assert log.publish().size == 10


def test_a_copy_for_a_backup_holds_what_was_committed(log, tmp_path):
    assert copied(tmp_path / "none.db") is None
    log.acts.append([act(1), act(2)])
    (tmp_path / "copy.db").write_bytes(copied(tmp_path / "access.db"))
    assert SqliteActs(tmp_path / "copy.db").read(0, 10) == [act(1), act(2)]


def test_one_signer_signs_several_logs_each_with_its_own_memory(tmp_path):
    other = "bank.example/other"
    signers = {
        origin: Signing(origin, lambda: [key()], Slots(tmp_path / str(number), DISK), SystemClock())
        for number, origin in enumerate((ORIGIN, other))
    }
    several = Several(signers)
    several.sign(0, [], Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT))
    with pytest.raises(InvalidProof, match="not for"):
        several.sign(0, [], Checkpoint("bank.example/third", 0, merkle.EMPTY_ROOT))
