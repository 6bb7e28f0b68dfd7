"""The projection's file: stopped anywhere it goes on, deleted it is made again, and what does not fit stops it."""

import itertools
import sqlite3
import threading

import numpy as np
import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.errors import Corrupt, Unavailable
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import Cursor
from tallystick.journal.memory import MemoryJournalReader
from tallystick.projector import queries
from tallystick.projector.projection import Projection
from tallystick.projector.sqlite import SqliteTables
from tallystick.records.changes import ChangeEventType
from tallystick.records.commands import AccountFlag, Kind, Opcode, Side, TransferFlag
from tallystick.records.filters import AccountFilter, ChangeEventsFilter, QueryFilter
from tallystick.statuses import TransferStatus
from tests.unit.projector.histories import RandomHistory, Writer
from tests.unit.projector.places import rows_of

PENDING, POST, VOID = (
    int(TransferFlag.PENDING),
    int(TransferFlag.POST_PENDING_TRANSFER),
    int(TransferFlag.VOID_PENDING_TRANSFER),
)


@pytest.fixture
def writer():
    writer = Writer()
    writer.account(1, flags=int(AccountFlag.HISTORY))
    writer.account(2)
    writer.seal()
    return writer


def projected(place, writer):
    writer.seal()
    projection = Projection(place.open(), writer.journal)
    projection.catch_up()
    return projection.tables


def compacted(path, into):
    """The file's content in SQLite's own order, as bytes."""
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM INTO ?", (str(into),))
    connection.close()
    return into.read_bytes()


def test_two_that_write_to_one_file_by_turns_leave_what_one_would(files, tmp_path):
    journal = RandomHistory(1, steps=300).writer.journal
    both = [Projection(files.open("shared"), EndingAt(journal, 0)) for _ in range(2)]
    for end in range(0, journal.end() + 1, 7):
        one = both[end % 2]
        one._journal = EndingAt(journal, end)
        one.catch_up()
    both[0]._journal = journal
    both[0].catch_up()
    for one in both:
        one.close()
    alone = Projection(files.open("alone"), journal)
    alone.catch_up()
    alone.close()
    shared = compacted(tmp_path / "shared.db", tmp_path / "shared.compacted")
    assert shared == compacted(tmp_path / "alone.db", tmp_path / "alone.compacted")


def test_a_deleted_projection_is_made_again_byte_for_byte(files, tmp_path):
    journal = RandomHistory(1, steps=300).writer.journal
    live = Projection(files.open("live"), EndingAt(journal, 0))
    for end in range(0, journal.end() + 1, 7):  # taken in as a running ledger would, a little at a time
        live._journal = EndingAt(journal, end)
        live.catch_up()
    live._journal = journal
    live.catch_up()
    live.close()
    again = Projection(files.open("again"), journal)
    again.catch_up()
    again.close()
    first = compacted(tmp_path / "live.db", tmp_path / "live.compacted")
    assert first == compacted(tmp_path / "again.db", tmp_path / "again.compacted")
    assert len(first) > 10_000


class EndingAt(MemoryJournalReader):
    """A journal of which only the blocks up to an end are durable."""

    def __init__(self, journal, end):
        super().__init__(journal.kept)
        firsts = [*journal.kept.firsts, journal.end()]
        self._stop = max(first for first in firsts if first <= end)

    def end(self):
        return self._stop

    def read(self, seq):
        return (block for block in super().read(seq) if block.header.next <= self._stop)


class Stop(Exception):
    """What ends a process in the middle."""


def test_a_projection_that_stops_at_any_statement_goes_on_where_it_was(files, monkeypatch):
    monkeypatch.setattr("tallystick.projector.projection.ENTRIES_AT_ONCE", 1)
    journal = RandomHistory(2, steps=300, accounts=3).writer.journal
    whole = Projection(files.open(), journal)
    whole.catch_up()
    for stops in itertools.count():
        projection = Projection(files.open("stopped"), journal)
        projection.tables.connection = Stopping(projection.tables.connection, stops)
        try:
            projection.catch_up()
            break
        except Stop:
            pass  # the next one goes one statement further
        finally:
            projection.tables.connection.close()
    assert rows_of(files.open("stopped")) == rows_of(whole.tables)
    assert stops > 40


class Stopping:
    """A connection that ends after so many statements that write."""

    def __init__(self, connection, allowed):
        self._connection, self._left = connection, allowed

    def _count(self, sql):
        if self._left == 0 and not sql.startswith("ROLLBACK"):
            raise Stop
        self._left -= 1

    def execute(self, sql, *values):
        if self._connection.in_transaction or sql.startswith("BEGIN"):
            self._count(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql, rows):
        self._count(sql)
        return self._connection.executemany(sql, rows)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def test_only_what_is_durable_is_taken_in(place, writer):
    writer.transfer(10, 1, 2, 5)
    projection = Projection(place.open(), writer.journal)
    assert projection.catch_up() == 3
    assert queries.query_transfers(projection.tables, 1, QueryFilter()) == []
    writer.seal()
    assert projection.catch_up() == 5
    assert [each.id for each in queries.query_transfers(projection.tables, 1, QueryFilter())] == [10]


def test_it_reads_a_journal_in_files_beside_the_writer(place, tmp_path, writer):
    kept = writer.journal.kept
    journal = FileJournal.open(tmp_path / "journal", SystemDisk(), 1_048_576)
    reader = FileJournalReader(tmp_path / "journal", SystemDisk())
    projection = Projection(place.open("projection"), reader)
    assert projection.catch_up() == 0
    block = kept.blocks[0]
    journal.append([block[:128], b"", block[128:]], 0, journal.epoch)
    assert projection.catch_up() == 3
    assert [each.id for each in queries.query_accounts(projection.tables, 1, QueryFilter())] == [1, 2]
    for each in (projection, reader, journal):
        each.close()


def test_balances_of_two_to_the_power_of_128_minus_one_are_exact(place, writer):
    most = 2**128 - 1
    writer.transfer(10, 1, 2, most - 1, flags=PENDING)
    writer.transfer(11, 1, 2, 1)
    pending = writer.transfer(12, 1, 2, 1, flags=PENDING)
    writer.transfer(13, 0, 0, 1, flags=POST, pending_seq=pending, pending_id=12)
    tables = projected(place, writer)
    account = queries.query_accounts(tables, 1, QueryFilter())[0]
    assert (account.debits_pending, account.debits_posted) == (most - 1, 2)
    assert [
        (each.debits_pending, each.debits_posted)
        for each in queries.get_account_balances(tables, 1, AccountFilter(account_id=1))
    ] == [(most - 1, 0), (most - 1, 1), (most, 1), (most - 1, 2)]


def test_an_expiry_is_a_change_and_leaves_no_balance_and_no_transfer(place, writer):
    pending = writer.transfer(10, 1, 2, 5, flags=PENDING, timeout=1)
    writer.entry(Kind.EXPIRY, pending_seq=pending, moved=5, pending_id=10, debit_account_id=1, credit_account_id=2)
    tables = projected(place, writer)
    assert [each.id for each in queries.query_transfers(tables, 1, QueryFilter())] == [10]
    balances = queries.get_account_balances(tables, 1, AccountFilter(account_id=1))
    assert [each.debits_pending for each in balances] == [5]
    changes = queries.get_change_events(tables, 1, ChangeEventsFilter())
    assert [(each.type, each.transfer_id, each.debit_account_debits_pending) for each in changes] == [
        (ChangeEventType.TWO_PHASE_PENDING, 10, 5),
        (ChangeEventType.TWO_PHASE_EXPIRED, 10, 0),
    ]
    assert changes[0].timestamp == changes[0].transfer_timestamp == changes[1].transfer_timestamp
    assert changes[1].timestamp > changes[0].timestamp


def test_an_approval_posts_what_was_asked_as_plain_and_leaves_open_what_was_asked_as_pending(place, writer):
    reviewed = {"flag_bits_effective": PENDING, "timeout_effective": 900}
    plain = writer.transfer(10, 1, 2, 5, **reviewed)
    asked_as_pending = writer.transfer(11, 1, 2, 7, flags=PENDING, **reviewed)
    writer.seal()
    writer.control(Opcode.APPROVE, 0, 10, pending_seq=plain, moved=5)
    writer.control(Opcode.APPROVE, 0, 11, pending_seq=asked_as_pending)
    writer.transfer(12, 0, 0, 3, flags=POST, pending_id=11, pending_seq=asked_as_pending)
    tables = projected(place, writer)
    assert [
        (each.type, each.transfer_id, each.debit_account_debits_pending, each.debit_account_debits_posted)
        for each in queries.get_change_events(tables, 1, ChangeEventsFilter())
    ] == [
        (ChangeEventType.TWO_PHASE_PENDING, 10, 5, 0),
        (ChangeEventType.TWO_PHASE_PENDING, 11, 12, 0),
        (ChangeEventType.TWO_PHASE_POSTED, 10, 7, 5),
        (ChangeEventType.TWO_PHASE_POSTED, 12, 0, 8),
    ]
    shown = queries.query_transfers(tables, 1, QueryFilter())
    assert [(each.id, each.flags, each.timeout) for each in shown] == [
        (10, PENDING, 900),
        (11, PENDING, 900),
        (12, POST, 0),
    ]


def test_an_account_that_is_closed_and_reopened_has_those_flags_in_between(place, writer):
    closing = PENDING | int(TransferFlag.CLOSING_DEBIT)
    for number in (10, 12):
        pending = writer.transfer(number, 1, 2, 0, flags=closing)
        writer.transfer(number + 1, 0, 0, 0, flags=VOID, pending_seq=pending, pending_id=number)
    writer.transfer(14, 2, 1, 1)
    tables = projected(place, writer)
    changes = queries.get_change_events(tables, 1, ChangeEventsFilter())
    closed = AccountFlag.HISTORY | AccountFlag.CLOSED
    assert [each.debit_account_flags for each in changes[:4]] == [closed, AccountFlag.HISTORY] * 2
    assert changes[4].credit_account_flags == AccountFlag.HISTORY
    assert {each.credit_account_flags for each in changes[:4]} == {AccountFlag(0)}
    assert queries.query_accounts(tables, 1, QueryFilter())[0].flags == AccountFlag.HISTORY


def test_freezes_and_limits_show_on_the_account_as_they_add_up(place, writer):
    writer.control(Opcode.FREEZE, 1, Side.DEBITS)
    writer.control(Opcode.FREEZE, 1, Side.BOTH)
    writer.control(Opcode.UNFREEZE, 1, Side.DEBITS)
    writer.control(Opcode.CREDIT_LIMIT, 1, 2**100)
    writer.control(Opcode.FREEZE, 2, Side.BOTH, status=4)  # refused
    first, second = queries.query_accounts(projected(place, writer), 1, QueryFilter())
    assert (first.frozen, first.credit_limit) == (Side.CREDITS, 2**100)
    assert (second.frozen, second.credit_limit) == (Side(0), 0)


def test_two_tenants_with_the_same_ids_see_nothing_of_each_other(place):
    writer = Writer()
    for tenant in (1, 2**64 - 1):
        writer.account(1, tenant)
        writer.account(2, tenant)
    writer.transfer(10, 1, 2, 5, tenant=1, user_data_64=3)
    writer.transfer(10, 2, 1, 7, tenant=2**64 - 1, user_data_64=3)
    tables = projected(place, writer)
    for tenant, amount in ((1, 5), (2**64 - 1, 7), (2, None)):
        expected = [] if amount is None else [amount]
        asked = AccountFilter(account_id=1)
        assert [each.amount for each in queries.get_account_transfers(tables, tenant, asked)] == expected
        asked = QueryFilter(user_data_64=3)
        assert [each.amount for each in queries.query_transfers(tables, tenant, asked)] == expected
        changes = queries.get_change_events(tables, tenant, ChangeEventsFilter())
        assert [each.transfer_amount for each in changes] == expected


def test_refused_commands_leave_nothing(place, writer):
    writer.transfer(10, 1, 2, 5, status=int(TransferStatus.EXCEEDS_CREDITS), moved=0)
    writer.account(3, status=13)
    tables = projected(place, writer)
    assert queries.query_transfers(tables, 1, QueryFilter()) == []
    assert len(queries.query_accounts(tables, 1, QueryFilter())) == 2


def misfits():
    def unknown_account(writer):
        writer.transfer(10, 1, 3, 5)

    def account_opened_later(writer):
        writer.transfer(10, 1, 3, 5)
        writer.account(3)

    def account_opened_twice(writer):
        writer.account(1)

    def below_zero(writer):
        pending = writer.transfer(10, 1, 2, 5, flags=PENDING)
        writer.transfer(11, 1, 2, 1, flags=PENDING)
        writer.entry(Kind.EXPIRY, pending_seq=pending, moved=5)
        writer.seal()
        writer.entry(Kind.EXPIRY, pending_seq=pending, moved=5)

    def past_the_largest(writer):
        writer.transfer(10, 1, 2, 2**128 - 1)
        writer.transfer(11, 1, 2, 1)

    def resolved_twice_at_once(writer):
        pending = writer.transfer(10, 1, 2, 5, flags=PENDING)
        writer.transfer(11, 0, 0, 5, flags=POST, pending_seq=pending)
        writer.transfer(12, 0, 0, 5, flags=VOID, pending_seq=pending)

    def resolves_no_pending_transfer(writer):
        plain = writer.transfer(10, 1, 2, 5)
        writer.transfer(11, 0, 0, 5, flags=POST, pending_seq=plain)

    def resolves_an_account(writer):
        writer.transfer(11, 0, 0, 5, flags=POST, pending_seq=1)

    def resolves_another_tenants(writer):
        pending = writer.transfer(10, 1, 2, 5, flags=PENDING)
        writer.transfer(11, 0, 0, 5, tenant=2, flags=POST, pending_seq=pending)

    def import_regresses(writer):
        writer.transfer(10, 1, 2, 5)
        imported = int(TransferFlag.IMPORTED)
        writer.transfer(11, 1, 2, 5, flags=imported, event_timestamp=writer.now)

    def time_stands_still(writer):
        writer.transfer(10, 1, 2, 5)
        writer.now -= 3
        writer.transfer(11, 1, 2, 5)

    def time_stands_still_between_blocks(writer):
        writer.transfer(10, 1, 2, 5)
        writer.seal()
        writer.now -= 3
        writer.transfer(11, 1, 2, 5)

    def freezes_nobody(writer):
        writer.control(Opcode.FREEZE, 9, Side.BOTH)

    return list(locals().values())


@pytest.mark.parametrize("misfit", misfits(), ids=lambda misfit: misfit.__name__)
@pytest.mark.parametrize("entries_at_once", [1, 65_536])
def test_an_entry_that_does_not_fit_is_corrupt_and_stops_it_there(place, writer, misfit, entries_at_once, monkeypatch):
    monkeypatch.setattr("tallystick.projector.projection.ENTRIES_AT_ONCE", entries_at_once)
    projection = Projection(place.open(), writer.journal)
    projection.catch_up()
    before = rows_of(projection.tables)
    misfit(writer)
    writer.seal()
    for _ in range(2):
        with pytest.raises(Corrupt):
            projection.catch_up()
    if entries_at_once > 1:
        assert rows_of(projection.tables) == before
        assert projection.next_seq == 3


def test_another_journal_is_no_continuation(place, writer):
    projection = Projection(place.open(), writer.journal)
    projection.catch_up()
    other = Writer()
    other.account(7)
    other.account(8)
    other.seal()
    other.account(9)
    other.seal()
    projection._journal = other.journal
    with pytest.raises(Corrupt, match="does not continue"):
        projection.catch_up()


def test_a_journal_that_ends_before_the_cursor_is_corrupt(place, writer):
    projection = Projection(place.open(), writer.journal)
    projection.catch_up()
    projection._journal = Writer().journal
    with pytest.raises(Corrupt, match="the journal ends at 0"):
        projection.catch_up()


def test_a_file_that_is_no_projection_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "projection.db"
    path.write_bytes(b"not a database, but something of value" * 100)
    with pytest.raises(Corrupt, match="delete it"):
        SqliteTables(path)
    assert path.read_bytes().startswith(b"not a database")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE somebody_elses (value)")
    connection.close()
    with pytest.raises(Corrupt, match="is no projection of version 2"):
        SqliteTables(other)


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path):
    with pytest.raises(Unavailable):
        SqliteTables(tmp_path / "nowhere" / "projection.db")


def test_what_is_remembered_of_accounts_is_bounded(place, monkeypatch):
    monkeypatch.setattr("tallystick.projector.standing.ACCOUNTS_KEPT", 5)
    monkeypatch.setattr("tallystick.projector.projection.ENTRIES_AT_ONCE", 1)
    history = RandomHistory(3, steps=100)
    projection = Projection(place.open(), history.writer.journal)
    projection.catch_up()
    assert len(projection._recorder.standing.slots) <= 20
    assert np.count_nonzero([len(numbers) > 5 for numbers in history.accounts.values()]) == 3


def test_two_that_write_to_one_place_take_in_each_entry_once(place, writer):
    writer.seal()
    first, second = (Projection(place.open("projection"), writer.journal) for _ in range(2))
    first.catch_up()
    writer.transfer(10, 1, 2, 5)
    writer.seal()
    block = next(writer.journal.read(3))
    with pytest.raises(Unavailable, match="another process"):
        second.take([block], Cursor(block.header.next, block.header.hash))
    assert second.catch_up() == first.catch_up() == 6
    writer.transfer(11, 1, 2, 5)
    writer.seal()
    second.catch_up()
    first.catch_up()
    assert len(queries.query_transfers(first.tables, 1, QueryFilter())) == 2


def left_out(writer):
    """A journal in which the account's next line is not there."""
    writer.transfer(10, 1, 2, 5)
    writer._lines[1, 1] += 1
    writer.transfer(11, 1, 2, 5)


def counted_twice(writer):
    writer.transfer(10, 1, 2, 5)
    writer._lines[1, 2] -= 1
    writer.transfer(11, 1, 2, 5)


def a_freeze_left_out(writer):
    writer._lines[1, 1] += 1
    writer.control(Opcode.FREEZE, 1, Side.DEBITS)


@pytest.mark.parametrize("misfit", [left_out, counted_twice, a_freeze_left_out])
@pytest.mark.parametrize("apart", [False, True])
def test_a_line_of_an_account_that_is_missing_is_found_by_its_number(place, writer, misfit, apart):
    projection = Projection(place.open(), writer.journal)
    if apart:
        writer.seal()
        projection.catch_up()
    misfit(writer)
    writer.seal()
    with pytest.raises(Corrupt, match="is line"):
        projection.catch_up()


def test_totals_are_the_sums_of_the_accounts(place):
    tables = projected(place, RandomHistory(4, steps=400).writer)
    sums = {}
    rows = tables.execute(
        "SELECT tenant, ledger, code, debits_pending, debits_posted, credits_pending, credits_posted FROM accounts"
    )
    for tenant, ledger, code, *balances in rows:
        kept = sums.setdefault((tenant, ledger, code), [0] * 5)
        for at, balance in enumerate((1, *(int.from_bytes(each, "big") for each in balances))):
            kept[at] += balance
    found = {
        tuple(row[:3]): [row[3], *(int.from_bytes(each, "big") for each in row[4:])]
        for row in tables.execute("SELECT * FROM totals")
    }
    assert found == sums
    assert any(sum(each[1:]) for each in sums.values())


def test_a_log_that_has_grown_is_begun_anew_in_the_pause_between_two_commits(tmp_path, writer, monkeypatch):
    monkeypatch.setattr("tallystick.projector.sqlite.LOG_BYTES_MAX", 100_000)
    path = tmp_path / "projection.db"
    projection = Projection(SqliteTables(path), writer.journal)
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for number in range(30):
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM cursor").fetchone()  # sees the commit before the next one
        for each in range(20):
            writer.transfer(100 + 20 * number + each, 1, 2, 5)
        writer.seal()
        threading.Timer(0.05, reader.execute, ("COMMIT",)).start()
        projection.catch_up()
        assert (tmp_path / "projection.db-wal").stat().st_size < 400_000
        while reader.in_transaction:
            pass
