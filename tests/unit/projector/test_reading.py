"""What the projector answers, held against the journal's own entries, one by one: the answers know no gap."""

import csv
import io
import itertools
import threading

import msgspec
import pytest

from tallystick.clock import SystemClock
from tallystick.errors import Corrupt, Invalid, Unavailable
from tallystick.inquiries import reads
from tallystick.inquiries.port import NotFound
from tallystick.projector import cursors, finding, reading
from tallystick.projector.projection import Projection
from tallystick.projector.reading import Reached, Reader
from tallystick.records.commands import Kind, Opcode, Side, TransferFlag
from tallystick.records.entries import TRANSFER_WORK, WORK
from tallystick.statuses import STORED_MASK
from tests.unit.projector.engine_histories import EngineHistory
from tests.unit.projector.histories import TENANTS, Writer

KEY = bytes(range(32))
PENDING, POST = int(TransferFlag.PENDING), int(TransferFlag.POST_PENDING_TRANSFER)


class Asking:
    """A projection, and a reader of it."""

    def __init__(self, place, journal):
        self.place = place
        self.projection = Projection(place.open("asked"), journal)
        self.reached = Reached()
        self.catch_up()
        self.reader = Reader(place.reader("asked"), KEY, SystemClock(), self.reached, journal)

    def catch_up(self):
        self.reached.move(self.projection.catch_up())

    def __call__(self, operation, tenant=1, left_s=20.0, **fields):
        asked = reads.encode(reads.OPERATIONS[operation](**fields))
        read = reads.decode_read(self.reader(operation, tenant, asked, left_s))
        if fields.get("media", "application/json") != "application/json":
            return read
        return msgspec.json.decode(read.body, type=SHAPES[operation], strict=True)

    def pages(self, operation, tenant=1, **fields):
        """All pages, one after the other."""
        page = self(operation, tenant, **fields)
        yield page
        while page.cursor:
            page = self(operation, tenant, **fields, cursor=page.cursor)
            yield page

    def close(self):
        self.reader.close()
        self.projection.close()


SHAPES = {
    "balance": reads.BalanceOut,
    "statement": reads.StatementOut,
    "transfers": reads.TransfersFound,
    "accounts": reads.AccountsFound,
    "totals": reads.TotalsOut,
}


@pytest.fixture(scope="module")
def history():
    return EngineHistory(11, 120)


@pytest.fixture(scope="module")
def asking(history, lasting_place):
    asking = Asking(lasting_place, history.journal)
    yield asking
    asking.close()


def blob(number):
    return number.to_bytes(16, "big")


def entries(history):
    for block in history.journal.read(0):
        yield from zip(block.entries.view(WORK), block.details, strict=True)


def lines_of(history):
    """By tenant and account id, the (sequence, seq) that the journal's own details give."""
    found, sides = {}, {}
    for entry, private in entries(history):
        if entry["status"] != STORED_MASK or entry["kind"] == Kind.SEAL:
            continue
        row, seq, tenant = entry.view(TRANSFER_WORK), int(entry["seq"]), int(entry["tenant"])
        if entry["kind"] in (Kind.ACCOUNT, Kind.CONTROL):
            sides[seq] = [int(row["id_lo"]) | int(row["id_hi"]) << 64]
        else:
            sides[seq] = [int(row[f"{side}_account_id_lo"]) for side in ("debit", "credit")]
        if private["pending_seq"]:
            sides[seq] = sides[int(private["pending_seq"])]
        numbers = (int(private["debit_sequence"]), int(private["credit_sequence"]))
        for account, number in zip(sides[seq], numbers, strict=False):
            found.setdefault((tenant, account), []).append((number, seq))
    return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_a_statement_has_every_line_of_the_account_once_and_its_balances_run(asking, history, limit):
    expected = lines_of(history)
    assert len(expected) > 20
    assert max(len(lines) for lines in expected.values()) > 20
    for (tenant, account), wanted in list(expected.items())[:: 1 if limit > 1 else 4]:
        standing, seen = None, []
        for page in asking.pages("statement", tenant, account_id=blob(account), limit=limit):
            if standing is not None:
                assert page.opening == standing
            assert int(page.sequence) == len(seen)
            for line in page.lines:
                seen.append((int(line.sequence), int(line.position)))
                standing = line.balances
            assert page.closing == standing
        assert seen == wanted
        [found] = [each for each in pages_of_accounts(asking, tenant) if each.id == blob(account).hex()]
        assert (found.debits_posted, found.credits_posted) == (standing.debits_posted, standing.credits_posted)
        assert (found.debits_pending, found.sequence) == (standing.debits_pending, str(len(wanted)))


def pages_of_accounts(asking, tenant):
    return [each for page in asking.pages("accounts", tenant, limit=7) for each in page.accounts]


def test_a_balance_at_any_position_is_that_of_the_last_line_before_it(asking, history):
    (tenant, account), lines = max(lines_of(history).items(), key=lambda each: len(each[1]))
    [page] = asking.pages("statement", tenant, account_id=blob(account), limit=1000)
    after = {int(line.position): line for line in page.lines}
    opened = lines[0][1]
    with pytest.raises(NotFound):
        asking("balance", tenant, account_id=blob(account), at_position=opened)
    last = None
    for position in range(opened + 1, history.journal.end() + 1):
        last = after.get(position - 1, last)
        found = asking("balance", tenant, account_id=blob(account), at_position=position)
        assert (found.balances, found.sequence) == (last.balances, last.sequence)
        if last.balances is not page.lines[0].balances and position - 1 in after and last.side:
            then = asking("balance", tenant, account_id=blob(account), at_ns=int(last.timestamp))
            assert then.balances == last.balances
            before = asking("balance", tenant, account_id=blob(account), at_ns=int(last.timestamp) - 1)
            assert int(before.position) <= position - 1


def test_a_statement_of_a_span_opens_with_what_was_before_it(asking, history):
    (tenant, account), _ = max(lines_of(history).items(), key=lambda each: len(each[1]))
    [whole] = asking.pages("statement", tenant, account_id=blob(account), limit=1000)
    moved = [line for line in whole.lines if line.side]
    first, last = moved[len(moved) // 3], moved[2 * len(moved) // 3]
    fields = {"since_ns": int(first.timestamp), "until_ns": int(last.timestamp)}
    pages = list(asking.pages("statement", tenant, account_id=blob(account), limit=4, **fields))
    found = [line for page in pages for line in page.lines if line.side]
    at, end = moved.index(first), moved.index(last)
    assert found == moved[at:end]
    assert pages[0].opening == moved[at - 1].balances
    assert pages[-1].closing == moved[end - 1].balances


def transfers_of(history, tenant):
    """Created transfers as the journal has them, oldest first."""
    for entry, _ in entries(history):
        if entry["kind"] == Kind.TRANSFER and entry["status"] == STORED_MASK and entry["tenant"] == tenant:
            yield entry.view(TRANSFER_WORK)


def found_ids(pages):
    return [each.id for page in pages for each in page.transfers]


def questions(some, low, high):
    """Questions of a search, and which of the transfers each is about."""
    return [
        ({"account_id": bytes.fromhex(some.debit_account_id)},
         lambda t: some.debit_account_id in (t.debit_account_id, t.credit_account_id)),
        ({"amount_min": blob(low), "amount_max": blob(high)}, lambda t: low <= int(t.amount) <= high),
        ({"amount_min": blob(high)}, lambda t: int(t.amount) >= high),
        ({"amount_min": blob(low), "amount_max": blob(low)}, lambda t: int(t.amount) == low),
        ({"code": some.code}, lambda t: t.code == some.code),
        ({"ledger": 1, "user_data_64": 2**64 - 1}, lambda t: t.ledger == 1 and t.user_data_64 == str(2**64 - 1)),
        ({"code": some.code, "amount_max": blob(high), "account_id": bytes.fromhex(some.credit_account_id)},
         lambda t: t.code == some.code and int(t.amount) <= high
         and some.credit_account_id in (t.debit_account_id, t.credit_account_id)),
    ]  # fmt: skip


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("limit", [2, 50])
@pytest.mark.parametrize("sorted_max", [0, 8192])
def test_a_search_finds_what_a_walk_over_all_transfers_finds(
    asking, history, oldest_first, limit, sorted_max, monkeypatch
):
    monkeypatch.setattr(finding, "AMOUNTS_SORTED_MAX", sorted_max)
    monkeypatch.setattr(finding, "WINDOW", 16)
    tried = 0
    for tenant in TENANTS:
        shown = {each.id: each for page in asking.pages("transfers", tenant, limit=500) for each in page.transfers}
        assert list(shown)[::-1] == [
            blob(int(row["id_lo"]) | int(row["id_hi"]) << 64).hex() for row in transfers_of(history, tenant)
        ]
        every = list(shown.values())[::-1] if oldest_first else list(shown.values())
        some = every[len(every) // 2]
        amounts = sorted(int(each.amount) for each in every)
        low, high = amounts[len(amounts) // 4], amounts[3 * len(amounts) // 4]
        for fields, fits in questions(some, low, high):
            wanted = [each.id for each in every if fits(each)]
            pages = list(asking.pages("transfers", tenant, limit=limit, oldest_first=oldest_first, **fields))
            assert found_ids(pages) == wanted, fields
            assert all(len(page.transfers) <= limit for page in pages)
            tried += len(wanted)
    assert tried > 100


def test_a_search_by_time_takes_the_beginning_and_leaves_the_end(asking, history):
    plain = [row for row in transfers_of(history, 1) if not int(row["flag_bits"]) & int(TransferFlag.IMPORTED)]
    times = [int(row["timestamp"]) for row in plain]
    first, last = times[len(times) // 3], times[2 * len(times) // 3]
    found = asking("transfers", since_ns=first, until_ns=last, limit=1000, oldest_first=True)
    wanted = [int(row["seq"]) for row in transfers_of(history, 1) if first <= int(row["timestamp"]) < last]
    assert [int(each.position) for each in found.transfers] == wanted


def test_a_page_whose_time_is_over_ends_early_and_the_next_goes_on_there(asking, history, monkeypatch):
    monkeypatch.setattr(finding, "WINDOW", 8)
    monkeypatch.setattr(reading, "SEARCH_S", 0.0)
    pages = list(asking.pages("transfers", limit=1000))
    assert len(pages) > 10
    assert found_ids(pages) == found_ids(asking.pages("transfers", limit=3))


@pytest.fixture
def writer():
    writer = Writer()
    for tenant in (1, 2):
        writer.account(1, tenant)
        writer.account(2, tenant)
    writer.seal()
    return writer


@pytest.fixture
def small(writer, place):
    asking = Asking(place, writer.journal)
    yield asking
    asking.close()


def test_pages_are_of_the_first_ones_position_while_the_journal_goes_on(writer, small):
    for number in range(10, 16):
        writer.transfer(number, 1, 2, 5)
    writer.seal()
    small.catch_up()
    statement = small("statement", account_id=blob(1), limit=3)
    newest = small("transfers", limit=4)
    accounts = small("accounts", limit=1)
    for number in range(20, 26):
        writer.transfer(number, 1, 2, 5)
    writer.account(3)
    writer.seal()
    small.catch_up()
    rest = list(small.pages("statement", account_id=blob(1), limit=3))
    assert len(rest) == 5  # asked anew it has more
    following = [statement]
    while following[-1].cursor:
        following.append(small("statement", account_id=blob(1), limit=3, cursor=following[-1].cursor))
    assert [line.sequence for page in following for line in page.lines] == [str(number) for number in range(1, 8)]
    assert {page.position for page in following} == {statement.position}
    older = small("transfers", limit=4, cursor=newest.cursor)
    assert [each.id for each in newest.transfers + older.transfers] == [blob(n).hex() for n in range(15, 9, -1)]
    second = small("accounts", limit=1, cursor=accounts.cursor)
    assert (second.accounts[0].credits_posted, second.cursor) == ("30", None)


def test_tenants_are_apart(writer, small):
    writer.transfer(10, 1, 2, 5, tenant=1)
    writer.transfer(10, 1, 2, 7, tenant=2)
    writer.seal()
    small.catch_up()
    for tenant, amount in ((1, "5"), (2, "7")):
        assert [each.amount for each in small("transfers", tenant).transfers] == [amount]
        assert small("balance", tenant, account_id=blob(1)).balances.debits_posted == amount
        assert small("totals", tenant).ledgers[0].debits_posted == amount
        assert small("statement", tenant, account_id=blob(1)).lines[-1].amount == amount
        assert len(small("accounts", tenant).accounts) == 2
    for operation in ("balance", "statement", "transfers"):
        with pytest.raises(NotFound):
            small(operation, 3, account_id=blob(1))
    cursor = small("transfers", 1, limit=1)
    assert cursor.cursor is None
    writer.transfer(11, 1, 2, 5)
    writer.seal()
    small.catch_up()
    cursor = small("transfers", 1, limit=1).cursor
    with pytest.raises(Invalid, match="cursor"):
        small("transfers", 2, limit=1, cursor=cursor)


@pytest.mark.parametrize("change", [{"code": 2}, {"oldest_first": True}, {"account_id": blob(1)}])
def test_a_cursor_is_good_for_its_own_question_only(writer, small, change):
    for number in range(10, 13):
        writer.transfer(number, 1, 2, 5)
    writer.seal()
    small.catch_up()
    cursor = small("transfers", limit=1).cursor
    assert small("transfers", limit=2, cursor=cursor).transfers  # another limit is the same question
    with pytest.raises(Invalid, match="cursor"):
        small("transfers", limit=1, cursor=cursor, **change)


def test_a_cursor_that_was_changed_anywhere_is_refused():
    cursor = cursors.make(KEY, 7, b"question", 2**63, 5)
    assert cursors.read(KEY, 7, b"question", cursor) == (2**63, 5)
    for at, letter in itertools.product(range(len(cursor)), "Ab9"):
        changed = cursor[:at] + letter + cursor[at + 1 :]
        if changed != cursor:
            with pytest.raises(Invalid):
                cursors.read(KEY, 7, b"question", changed)
    for wrong in ("", "é", cursor + "A", cursor[:-2], "*" * len(cursor)):
        with pytest.raises(Invalid):
            cursors.read(KEY, 7, b"question", wrong)
    with pytest.raises(Invalid):
        cursors.read(KEY[::-1], 7, b"question", cursor)


def test_a_position_that_is_durable_but_not_here_yet_is_waited_for(writer, small):
    writer.transfer(10, 1, 2, 5)
    writer.seal()
    position = writer.journal.end()
    threading.Timer(0.05, small.catch_up).start()
    found = small("balance", account_id=blob(1), position=position)
    assert (found.balances.debits_posted, int(found.position)) == ("5", position)


def test_a_position_that_does_not_come_in_time_is_unavailable_and_one_past_the_end_invalid(writer, small):
    writer.transfer(10, 1, 2, 5)
    writer.seal()
    with pytest.raises(Unavailable, match="not reached"):
        small("balance", account_id=blob(1), position=writer.journal.end(), left_s=0.05)
    with pytest.raises(Invalid, match="Tally-Position"):
        small("balance", account_id=blob(1), position=writer.journal.end() + 1)


def test_a_position_that_the_database_lost_after_it_was_reached_is_not_answered_from_before_it(small):
    small.reached.move(1000)  # told, and then its server crashed with the newest commits
    with pytest.raises(Unavailable, match="not reached again"):
        small("balance", account_id=blob(1), position=500)


def test_a_long_read_ends_when_its_askers_time_is_over(writer, files):
    small = Asking(files, writer.journal)
    for number in range(10, 400):
        writer.transfer(number, 1, 2, 5)
    writer.seal()
    small.catch_up()
    small.reader._tables.connection.set_progress_handler(small.reader._tables._is_late, 1)
    with pytest.raises(Unavailable, match="interrupted"):
        small("transfers", limit=1000, left_s=1e-9)
    assert len(small("transfers", limit=1000).transfers) == 390
    small.close()


@pytest.mark.parametrize(
    ("table", "where"),
    [("transfers", "seq = (SELECT seq FROM transfers LIMIT 1 OFFSET 2)"), ("notes", "1 = 1"), ("resolutions", "1 = 1"),
     ("transfers", "seq = (SELECT max(seq) FROM transfers)")],
)  # fmt: skip
def test_a_line_that_is_missing_in_the_tables_is_found_by_its_number(writer, small, table, where):
    pending = writer.transfer(9, 1, 2, 5, flags=PENDING, timeout=1)
    for number in range(10, 15):
        writer.transfer(number, 1, 2, 5)
    writer.control(Opcode.FREEZE, 1, Side.DEBITS)
    writer.entry(Kind.EXPIRY, pending_seq=pending, moved=5)
    writer.transfer(15, 1, 2, 5)
    writer.seal()
    small.catch_up()
    assert len(small("statement", account_id=blob(1)).lines) == 10
    assert small.place.change("asked", f"DELETE FROM {table} WHERE {where}") == 1
    for limit in (100, 1, 3):
        with pytest.raises(Corrupt, match="line"):
            list(small.pages("statement", account_id=blob(1), limit=limit))


def test_what_a_line_tells(writer, small):
    pending = writer.transfer(10, 1, 2, 50, flags=PENDING, timeout=60, code=7, user_data_64=2**64 - 1)
    writer.transfer(11, 0, 0, 20, flags=POST, pending_id=10, pending_seq=pending)
    writer.control(Opcode.CREDIT_LIMIT, 2, 2**70)
    writer.control(Opcode.FREEZE, 2, Side.CREDITS)
    writer.seal()
    small.catch_up()
    opened, reserved, posted, limit, freeze = small("statement", account_id=blob(2)).lines
    assert (opened.type, opened.sequence, opened.balances.balance) == ("open", "1", "0")
    assert (reserved.type, reserved.side, reserved.amount, reserved.code) == ("pending", "credit", "50", 7)
    assert (reserved.other_account_id, reserved.user_data_64) == (blob(1).hex(), str(2**64 - 1))
    assert (reserved.balances.credits_pending, reserved.balances.balance) == ("50", "0")
    assert (posted.type, posted.amount, posted.pending_id) == ("post", "20", blob(10).hex())
    assert (posted.balances.credits_pending, posted.balances.balance) == ("0", "20")
    assert (limit.type, limit.value, limit.balances) == ("credit_limit", str(2**70), posted.balances)
    assert (freeze.type, freeze.value) == ("freeze", "2")
    [debited] = [line for line in small("statement", account_id=blob(1)).lines if line.type == "post"]
    assert debited.balances.balance == "-20"
    states = {each.id: each.state for each in small("transfers").transfers}
    assert states == {blob(10).hex(): "posted", blob(11).hex(): msgspec.UNSET}


def test_csv_and_html_hold_what_the_json_holds(writer, small):
    writer.transfer(10, 1, 2, 2**127)
    writer.transfer(11, 2, 1, 7)
    writer.seal()
    small.catch_up()
    page = small("statement", account_id=blob(1))
    read = small("statement", account_id=blob(1), media="text/csv")
    opening, *rows, closing = csv.DictReader(io.StringIO(read.body.decode(), newline=""))
    assert b"\r\n" in read.body
    assert (opening["type"], opening["balance"], opening["sequence"]) == ("opening", "0", "0")
    assert [row["sequence"] for row in rows] == [line.sequence for line in page.lines]
    assert [row["amount"] for row in rows] == ["", str(2**127), "7"]
    assert rows[1]["time"] == "2027-01-15T08:00:00.000000Z"
    assert (closing["type"], closing["balance"]) == ("closing", page.closing.balance) == ("closing", str(7 - 2**127))
    whole = small("statement", account_id=blob(1), media="text/html").body.decode()
    assert whole.startswith("<!doctype html>")
    assert str(7 - 2**127) in whole
    assert "<script" not in whole


def test_a_trial_balance_balances_by_code(writer, small):
    writer.account(3, ledger=2, code=9)
    writer.account(4, ledger=2, code=8)
    writer.transfer(10, 3, 4, 2**127, ledger=2)
    writer.transfer(11, 3, 4, 2**126, flags=PENDING, ledger=2)
    writer.seal()
    small.catch_up()
    first, second = small("totals").ledgers
    assert (first.ledger, first.accounts, first.balanced) == (1, "2", True)
    assert (second.debits_posted, second.credits_pending, second.balanced) == (str(2**127), str(2**126), True)
    assert [(each.code, each.balance) for each in second.codes] == [(8, str(2**127)), (9, str(-(2**127)))]
    assert small("totals", ledger=2).ledgers == [second]


def test_what_is_no_question_is_invalid(small):
    for operation, body in (("nonsense", b"\x80"), ("balance", b"\xff"), ("balance", b"\x80")):
        with pytest.raises(Invalid):
            small.reader(operation, 1, body, 1.0)
