"""A follower may be stopped at any line: each entry has its effect once, and nothing past the durable end has one."""

import sqlite3

import pytest

from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.journal import follow
from tallystick.journal.follow import Cursor, Follower
from tallystick.journal.memory import MemoryJournalReader
from tests.unit.projector.histories import NOW, Writer

BLOCKS, IN_A_BLOCK = 5, 4


class Clock:
    def __init__(self, now=NOW):
        self.now = now

    def wall_ns(self):
        return self.now

    def monotonic_ns(self):
        return self.now


class Stop(BaseException):
    """What ends a process in the middle: nothing may catch it and go on."""


class Store:
    """Effects that can be counted: each entry's seq is one row, and the cursor stands beside."""

    def __init__(self, path, cursor=None):
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = OFF")  # processes end here, not machines
        self.before = self.after = lambda statement: None
        self.connection.execute("CREATE TABLE IF NOT EXISTS effects (seq INTEGER NOT NULL, kind INTEGER NOT NULL)")
        self.connection.execute("CREATE TABLE IF NOT EXISTS cursor (next_seq INTEGER, block_hash BLOB)")
        if not self.connection.execute("SELECT * FROM cursor").fetchall():
            cursor = cursor or Cursor()
            self.connection.execute("INSERT INTO cursor VALUES (?, ?)", (cursor.next_seq, cursor.block_hash))

    def run(self, statement, *values):
        self.before(statement)
        found = self.connection.execute(statement, *values).fetchall()
        self.after(statement)
        return found

    def cursor(self):
        return Cursor(*self.run("SELECT next_seq, block_hash FROM cursor")[0])

    def take(self, blocks, after):
        entries, details = follow.rows_from(blocks, self.cursor().next_seq)
        assert len(entries) == len(details)
        try:
            self.run("BEGIN IMMEDIATE")
            for entry in entries:
                self.run("INSERT INTO effects VALUES (?, ?)", (int(entry["seq"]), int(entry["kind"])))
            self.run("UPDATE cursor SET next_seq = ?, block_hash = ?", (after.next_seq, after.block_hash))
            self.run("COMMIT")
        except Exception:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def seqs(self):
        return [seq for (seq,) in self.connection.execute("SELECT seq FROM effects ORDER BY rowid")]

    def kill(self):
        """As a process that is gone: what was not committed is not there."""
        self.connection.close()


class Journal(MemoryJournalReader):
    """A reader that runs into something at each call and each block."""

    def __init__(self, kept, at_call=lambda what: None):
        super().__init__(kept)
        self.at_call = at_call

    def end(self):
        self.at_call("end")
        return super().end()

    def read(self, seq):
        self.at_call("read")
        for block in super().read(seq):
            self.at_call("block")
            yield block


@pytest.fixture
def writer():
    writer = Writer()
    for block in range(BLOCKS):
        for number in range(IN_A_BLOCK - 1):
            writer.account(1000 * block + number + 1)
        writer.seal()
    return writer


def follower(writer, store, **options):
    return Follower(Journal(writer.journal.kept), store, Clock(), **options)


def run(follower):
    while not follower.step():
        pass


class At:
    """Raises at the n-th thing that happens, before or after it; None: never."""

    def __init__(self, n, error=Stop):
        self.n, self.error, self.count = n, error, 0

    def __call__(self, what):
        self.count += 1
        if self.count == self.n:
            raise self.error(what)


@pytest.mark.parametrize("side", ["before", "after", "journal"])
@pytest.mark.parametrize("entries_at_once", [1, 2 * IN_A_BLOCK, 10_000])
def test_stopped_at_any_statement_and_any_read_each_entry_has_its_effect_once(tmp_path, writer, side, entries_at_once):
    stops = 0
    whole = list(range(BLOCKS * IN_A_BLOCK))
    while True:
        path = tmp_path / f"{stops}.db"
        stops += 1
        at = At(stops)
        for _life in range(2):  # the first is stopped, the second goes on
            store = Store(path)
            journal = Journal(writer.journal.kept)
            if side == "journal":
                journal.at_call = at
            else:
                setattr(store, side, at)
            try:
                run(Follower(journal, store, Clock(), entries_at_once))
            except Stop:
                store.kill()
                continue
            assert store.seqs() == whole
            store.kill()
        if at.count < stops:
            break
    assert stops > 5


@pytest.mark.parametrize("error", [Unavailable, OutcomeUnknown])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_store_that_fails_at_any_statement_is_tried_again_from_its_own_cursor(tmp_path, writer, side, error):
    for number in range(1, 200):
        store = Store(tmp_path / f"{number}.db")
        at = At(number, error)
        setattr(store, side, at)
        walk = follower(writer, store, entries_at_once=1)
        waits = []
        while (wait := walk.step()) != follow.POLL_S:
            waits.append(wait)
        assert store.seqs() == list(range(BLOCKS * IN_A_BLOCK)), f"failed at statement {number}"
        store.kill()
        if at.count < number:
            return
        assert waits.count(follow.RETRY_S) == 1
    raise AssertionError("it never came to an end without a failure")


def test_the_waits_grow_while_it_is_not_possible_and_begin_again_when_it_was(tmp_path, writer):
    store = Store(tmp_path / "store.db")
    walk = follower(writer, store)

    def full(statement):
        if statement == "COMMIT":
            raise Unavailable("the disk is full")

    store.before = full
    waits = [walk.step() for _ in range(12)]
    assert waits[:3] == [follow.RETRY_S, 2 * follow.RETRY_S, 4 * follow.RETRY_S]
    assert waits == sorted(waits)
    assert waits[-1] == follow.RETRY_S_MAX
    assert walk.progress().trouble == "the disk is full"
    store.before = lambda statement: None
    assert walk.step() == 0
    assert walk.progress().trouble == ""
    store.before = full
    writer.account(1)
    writer.seal()
    while not (wait := walk.step()):
        pass
    assert wait == follow.RETRY_S


def test_what_does_not_fit_ends_it_and_moves_no_cursor(tmp_path, writer):
    store = Store(tmp_path / "store.db")

    def damaged(statement):
        if statement.startswith("UPDATE"):
            raise Corrupt("an entry that cannot be")

    store.before = damaged
    walk = follower(writer, store, entries_at_once=1)
    for _ in range(3):
        with pytest.raises(Corrupt):
            walk.step()
    assert store.seqs() == []
    store.before = lambda statement: None
    assert store.cursor() == Cursor()
    run(walk)  # whoever steps it all the same meets the same entry
    assert store.seqs() == list(range(BLOCKS * IN_A_BLOCK))


def test_at_the_durable_end_it_waits_and_then_takes_what_came(tmp_path, writer):
    store = Store(tmp_path / "store.db")
    walk = follower(writer, store)
    run(walk)
    assert walk.step() == follow.POLL_S
    writer.account(7)
    assert walk.step() == follow.POLL_S  # decided, but its block is not there yet
    assert len(store.seqs()) == BLOCKS * IN_A_BLOCK
    writer.seal()
    assert walk.step() == 0
    assert len(store.seqs()) == BLOCKS * IN_A_BLOCK + 2


@pytest.mark.parametrize("start", [0, 1, IN_A_BLOCK - 1, IN_A_BLOCK, BLOCKS * IN_A_BLOCK - 1, BLOCKS * IN_A_BLOCK])
def test_it_starts_from_any_position(tmp_path, writer, start):
    store = Store(tmp_path / "store.db", Cursor(start, None))
    run(follower(writer, store, entries_at_once=1))
    assert store.seqs() == list(range(start, BLOCKS * IN_A_BLOCK))


def test_slices_are_bounded_and_made_of_whole_blocks(writer):
    found = list(follow.slices(writer.journal, Cursor(), 2 * IN_A_BLOCK + 1))
    assert [len(each.blocks) for each in found] == [3, 2]
    assert [each.after.next_seq for each in found] == [12, 20]


def other_journal():
    other = Writer()
    for number in range(BLOCKS * IN_A_BLOCK - 1):
        other.account(number + 1)
    other.seal()
    other.account(99_999)
    other.seal()
    return other


def test_another_journal_is_no_continuation(tmp_path, writer):
    store = Store(tmp_path / "store.db")
    run(follower(writer, store))
    with pytest.raises(Corrupt, match="does not continue"):
        run(follower(other_journal(), store))


def test_a_cursor_inside_a_block_that_it_has_read_is_none(writer):
    inside = Cursor(IN_A_BLOCK + 1, next(writer.journal.read(0)).header.hash)
    with pytest.raises(Corrupt, match="does not continue"):
        list(follow.slices(writer.journal, inside))


def test_a_journal_that_was_cut_below_the_cursor_is_corrupt(tmp_path, writer):
    store = Store(tmp_path / "store.db")
    run(follower(writer, store))
    with pytest.raises(Corrupt, match="the journal ends at 0"):
        follower(Writer(), store).step()


def test_progress_tells_how_far_it_is_and_since_when(tmp_path, writer):
    store = Store(tmp_path / "store.db")
    clock = Clock(NOW + 10**12)
    walk = Follower(Journal(writer.journal.kept), store, clock, entries_at_once=1)
    end = BLOCKS * IN_A_BLOCK
    walk.step()
    entries = next(writer.journal.read(0)).entries
    assert walk.progress() == follow.Progress(IN_A_BLOCK, end, int(entries["timestamp"].max()), "")
    run(walk)
    assert walk.progress() == follow.Progress(end, end, clock.now, "")
    level_at = clock.now
    clock.now += 10**9
    writer.account(1)
    writer.seal()
    assert walk.progress() == follow.Progress(end, end + 2, level_at, "")
