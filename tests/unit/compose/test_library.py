"""`Ledger`, the engine as a library: many callers at once, both forms, failures, and what reopening finds."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose.library import Ledger
from tallystick.compose.parts import open_files
from tallystick.errors import Fenced, Invalid, OutcomeUnknown, Unavailable
from tallystick.journal.files import FileJournalReader
from tallystick.records.commands import ACCOUNT_EVENT, TRANSFER_EVENT, AccountFlag, Kind, Opcode, Side, TransferFlag
from tallystick.records.objects import Account, Control, Transfer
from tallystick.statuses import CREATED, AccountStatus, ControlStatus, TransferStatus

SMALL = {"accounts_max": 1_000, "window_ids": 64, "segment_bytes": 6_291_456}


def transfer(number, amount=1, **fields):
    return Transfer(id=number, debit_account_id=1, credit_account_id=2, amount=amount, ledger=1, code=1, **fields)


def open_accounts(ledger, *numbers, **fields):
    return ledger.create_accounts([Account(id=number, ledger=1, code=1, **fields) for number in numbers])


def balance(ledger, number=1):
    [account] = ledger.lookup_accounts([number])
    return account.debits_posted


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "books", **SMALL) as ledger:
        open_accounts(ledger, 1, 2)
        yield ledger


@pytest.fixture
def memory():
    with Ledger.in_memory() as ledger:
        open_accounts(ledger, 1, 2)
        yield ledger


def test_what_was_asked_is_there_when_the_call_returns_and_after_reopening(tmp_path):
    with Ledger.open(tmp_path, **SMALL) as ledger:
        opened = open_accounts(ledger, 1, 2)
        assert [result.status for result in opened] == [AccountStatus.CREATED] * 2
        first = ledger.create_transfers([transfer(10, 5), transfer(11, 6)], request_id=77)
        assert [result.status for result in first] == [TransferStatus.CREATED] * 2
    with Ledger.open(tmp_path, **SMALL) as ledger:
        assert balance(ledger) == 11
        assert ledger.create_transfers([transfer(10, 5), transfer(11, 6)], request_id=77) == first
        assert [(found.id, found.amount, found.timestamp) for found in ledger.lookup_transfers([11, 12, 10])] == [
            (11, 6, first[1].timestamp),
            (10, 5, first[0].timestamp),
        ]
        assert balance(ledger) == 11


def test_rows_and_objects_say_the_same(memory):
    rows = np.zeros(3, TRANSFER_EVENT)
    rows["id_lo"], rows["debit_account_id_lo"], rows["credit_account_id_lo"] = (10, 10, 11), 1, 2
    rows["amount_lo"], rows["ledger"], rows["code"] = (5, 6, 7), 1, 1
    by_rows = memory.create_transfers(rows, request_id=9)
    by_objects = memory.create_transfers([transfer(10, 5), transfer(10, 6), transfer(11, 7)], request_id=9)
    assert by_rows["status"].tolist() == [CREATED, TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT, CREATED]
    assert [(each.timestamp, each.status) for each in by_objects] == by_rows[["timestamp", "status"]].tolist()
    accounts = np.zeros(1, ACCOUNT_EVENT)
    accounts["id_lo"], accounts["ledger"], accounts["code"] = 1, 1, 1
    assert memory.create_accounts(accounts)["status"].tolist() == [AccountStatus.EXISTS]
    every_other = np.repeat(rows, 2)[::2]  # not contiguous
    assert memory.create_transfers(every_other, request_id=9)["status"].tolist() == by_rows["status"].tolist()


def test_freezes_and_limits_are_obeyed_at_once(memory):
    open_accounts(memory, 3, flags=AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS)
    overdrawn = Transfer(id=50, debit_account_id=3, credit_account_id=2, amount=5, ledger=1, code=1)
    assert memory.create_transfers([overdrawn])[0].status is TransferStatus.EXCEEDS_CREDITS
    assert memory.set_credit_limit(3, 5) is ControlStatus.APPLIED
    again = Transfer(id=51, debit_account_id=3, credit_account_id=2, amount=5, ledger=1, code=1)
    assert memory.create_transfers([again])[0].status is TransferStatus.CREATED
    assert memory.freeze(1, Side.DEBITS) is ControlStatus.APPLIED
    assert memory.create_transfers([transfer(52)])[0].status is TransferStatus.DEBIT_ACCOUNT_FROZEN
    assert memory.lookup_accounts([1])[0].frozen == Side.DEBITS
    assert memory.unfreeze(1) is ControlStatus.APPLIED
    assert memory.create_transfers([transfer(53)])[0].status is TransferStatus.CREATED
    [unknown] = memory.control([Control(account_id=99, opcode=Opcode.FREEZE, value=1)])
    assert unknown.status is ControlStatus.ACCOUNT_NOT_FOUND


def test_tenants_see_nothing_of_each_other(memory):
    memory.create_transfers([transfer(10)])
    assert memory.lookup_accounts([1, 2], tenant=2) == []
    assert memory.lookup_transfers([10], tenant=2) == []
    assert memory.create_transfers([transfer(10)], tenant=2)[0].status is TransferStatus.DEBIT_ACCOUNT_NOT_FOUND


def test_a_request_id_used_before_with_other_content_is_invalid_and_nothing_moves(memory):
    memory.create_transfers([transfer(10)], request_id=5)
    with pytest.raises(Invalid, match="used before"):
        memory.create_transfers([transfer(11)], request_id=5)
    with pytest.raises(Invalid, match="used before"):
        memory.create_transfers([transfer(11), transfer(12)], request_id=5)
    assert balance(memory) == 1


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda ledger: ledger.create_transfers([]), "events"),
        (lambda ledger: ledger.create_transfers([transfer(k + 1) for k in range(8_191)]), "events"),
        (lambda ledger: ledger.create_transfers(np.zeros(8_191, TRANSFER_EVENT)), "events"),
        (lambda ledger: ledger.create_transfers(np.zeros(1, ACCOUNT_EVENT)), "events"),
        (lambda ledger: ledger.create_transfers([transfer(1 << 128)]), "id"),
        (lambda ledger: ledger.create_transfers([transfer(1), transfer(2, -1)]), "[1].amount"),
        (lambda ledger: ledger.create_transfers([transfer(1, 1.5)]), "amount"),
        (lambda ledger: ledger.create_transfers([transfer(1)], request_id=0), "request_id"),
        (lambda ledger: ledger.create_transfers([transfer(1)], request_id=(1 << 128) - 1), "request_id"),
        (lambda ledger: ledger.create_transfers([transfer(1)], tenant=-1), "tenant"),
        (lambda ledger: ledger.lookup_accounts([1, -1]), "ids[1]"),
        (lambda ledger: ledger.lookup_accounts(["1"]), "ids"),
        (lambda ledger: ledger.lookup_transfers([1 << 128]), "ids[0]"),
        (lambda ledger: ledger.lookup_transfers([1], tenant=1 << 64), "tenant"),
    ],
)
def test_what_cannot_be_encoded_is_invalid_and_the_ledger_goes_on(memory, ask, field):
    with pytest.raises(Invalid) as raised:
        ask(memory)
    assert raised.value.field == field
    assert memory.create_transfers([transfer(7)])[0].status is TransferStatus.CREATED


def test_a_request_of_8_190_is_decided_whole(ledger):
    results = ledger.create_transfers([transfer(k + 1) for k in range(8_190)])
    assert {result.status for result in results} == {TransferStatus.CREATED}
    assert balance(ledger) == 8_190


def test_threads_that_come_together_share_syncs(ledger):
    before = ledger.statistics()["blocks"]

    def pay(first):
        return [ledger.create_transfers([transfer(first + k)])[0] for k in range(20)]

    with ThreadPoolExecutor(64) as pool:
        results = [result for some in pool.map(pay, range(100, 100 + 64 * 100, 100)) for result in some]
    assert [result.status for result in results] == [TransferStatus.CREATED] * 1_280
    assert len({result.timestamp for result in results}) == 1_280
    assert balance(ledger) == 1_280
    assert ledger.statistics()["blocks"] - before < 640


def test_coroutines_that_come_together_share_syncs(ledger):
    before = ledger.statistics()["blocks"]

    async def pay(first):
        return [(await ledger.aio.create_transfers([transfer(first + k)]))[0].status for k in range(4)]

    async def all_of_them():
        return await asyncio.gather(*(pay(first) for first in range(100, 100 + 256 * 10, 10)))

    results = asyncio.run(all_of_them())
    assert {status for some in results for status in some} == {TransferStatus.CREATED}
    assert balance(ledger) == 1_024
    assert ledger.statistics()["blocks"] - before <= 1_024 // 20


def test_coroutines_get_what_threads_get(memory):
    async def walk():
        aio = memory.aio
        opened = await aio.create_accounts([Account(id=5, ledger=1, code=1)])
        paid = await aio.create_transfers([transfer(10, 3), transfer(10, 4)], request_id=8)
        again = await aio.create_transfers([transfer(10, 3), transfer(10, 4)], request_id=8)
        frozen = await aio.control([Control(account_id=1, opcode=Opcode.FREEZE, value=1)])
        with pytest.raises(Invalid):
            await aio.create_transfers([transfer(11)], request_id=8)
        return opened, paid, again, frozen, await aio.lookup_accounts([1]), await aio.lookup_transfers([10])

    opened, paid, again, frozen, accounts, found = asyncio.run(walk())
    assert opened[0].status is AccountStatus.CREATED
    assert paid == again
    assert [each.status for each in paid] == [
        TransferStatus.CREATED,
        TransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT,
    ]
    assert frozen[0].status is ControlStatus.APPLIED
    assert (accounts[0].debits_posted, accounts[0].frozen, found[0].amount) == (3, 1, 3)


def test_the_same_request_from_many_at_once_is_decided_once(ledger):
    with ThreadPoolExecutor(16) as pool:
        every = list(
            pool.map(lambda _: ledger.create_transfers([transfer(10, 7), transfer(11, 1)], request_id=5), range(64))
        )
    assert all(results == every[0] for results in every)
    assert balance(ledger) == 8


def test_a_cancelled_coroutine_harms_nobody_and_its_payment_may_have_been_made(ledger):
    async def walk():
        tasks = [asyncio.ensure_future(ledger.aio.create_transfers([transfer(10 + k)])) for k in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(walk())
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert [result[0].status for result in results[1::2]] == [TransferStatus.CREATED] * 10
    # Asked before they were cancelled, so decided all the same; who wants to know asks again.
    assert balance(ledger) == 20


def test_an_event_loop_that_ends_while_its_calls_are_in_flight_harms_nobody(ledger):
    async def leave():
        for k in range(10):
            asyncio.ensure_future(ledger.aio.create_transfers([transfer(10 + k)]))  # noqa: RUF006 - left on purpose
            await asyncio.sleep(0)

    for _ in range(5):
        asyncio.run(leave())
    assert ledger.create_transfers([transfer(99)])[0].status is TransferStatus.CREATED


def test_close_finishes_what_was_asked_and_refuses_what_comes_later(tmp_path):
    ledger = Ledger.open(tmp_path, **SMALL)
    open_accounts(ledger, 1, 2)
    ready, created, refused = threading.Barrier(9), [], []

    def pay(first):
        ready.wait()
        try:
            for number in range(first, first + 10_000):
                ledger.create_transfers([transfer(number)])
                created.append(number)
        except Unavailable:
            refused.append(first)

    threads = [threading.Thread(target=pay, args=(first,)) for first in range(100_000, 900_000, 100_000)]
    for thread in threads:
        thread.start()
    ready.wait()
    while len(created) < 50:
        ledger.lookup_accounts([1])
    ledger.close()
    ledger.close()  # once more is nothing
    for thread in threads:
        thread.join()
    # Nobody was left in doubt, and whoever was told is right.
    assert len(refused) == 8
    with pytest.raises(Unavailable, match="closed"):
        ledger.lookup_accounts([1])
    with Ledger.open(tmp_path, **SMALL) as ledger:
        assert balance(ledger) == len(created) == len(ledger.lookup_transfers(created))


def test_a_folder_belongs_to_one_ledger_at_a_time(tmp_path):
    with Ledger.open(tmp_path, **SMALL), pytest.raises(Fenced):
        Ledger.open(tmp_path, **SMALL)
    Ledger.open(tmp_path, **SMALL).close()


class FailingFile:
    """A file whose writes, or whose syncs, of blocks fail once the disk is told so.

    Zeros written ahead of them go on: they are written by a thread at its own time, and would fail first at times.
    """

    def __init__(self, file, disk):
        self._file = file
        self._disk = disk
        self._holds_blocks = False

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, at, buffers):
        self._holds_blocks = any(bytes(buffer).strip(b"\0") for buffer in buffers)
        if self._disk.broken == "write" and self._holds_blocks:
            raise OutcomeUnknown("cannot write: I/O error")
        self._file.write(at, buffers)

    def sync(self):
        if self._disk.broken and self._holds_blocks:
            raise OutcomeUnknown("cannot sync: I/O error")
        self._file.sync()


class FailingDisk(SystemDisk):
    """The machine's disk, until it breaks."""

    broken = ""

    def create(self, path, *, private=False):
        return FailingFile(super().create(path, private=private), self)

    def open(self, path, *, writable=False):
        file = super().open(path, writable=writable)
        return FailingFile(file, self) if file is not None else None


@pytest.fixture
def failing(tmp_path):
    disk = FailingDisk()
    ledger = Ledger(open_files(tmp_path, disk, SystemClock(), system_entropy, **SMALL), SystemClock(), system_entropy)
    open_accounts(ledger, 1, 2)
    yield disk, ledger
    ledger.close()


def test_nobody_is_woken_before_the_journal_holds_their_outcome_durably(ledger, tmp_path):
    reader = FileJournalReader(tmp_path / "books" / "journal", SystemDisk())
    durable_when_woken = []
    woken = threading.Event()

    class Caller:
        def settle(self, value):
            durable_when_woken.append(reader.end())
            woken.set()

    ledger._callers.ask(Caller(), ledger.packed(Kind.TRANSFER, [transfer(10)], 1, None), 1)
    assert woken.wait(60)
    assert durable_when_woken == [5]  # two accounts and their seal, the transfer and its
    reader.close()


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_journal_that_fails_leaves_those_in_flight_in_doubt_and_reopening_finds_the_truth(
    failing, tmp_path, operation
):
    disk, ledger = failing
    created, unknown, refused = [], [], []

    def pay(first):
        for number in range(first, first + 1_000):
            try:
                ledger.create_transfers([transfer(number)], request_id=number)
                created.append(number)
            except OutcomeUnknown:
                unknown.append(number)
            except Unavailable:
                refused.append(number)
                return

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(pay, first) for first in range(1_000, 9_000, 1_000)]
        while len(created) < 40:
            ledger.lookup_accounts([1])
        disk.broken = operation
        for each in done:
            each.result()
    assert 1 <= len(unknown) <= 8
    assert len(refused) == 8
    with pytest.raises(Unavailable, match="open it again"):
        ledger.lookup_accounts([1])
    ledger.close()
    with Ledger.open(tmp_path, **SMALL) as again:
        assert len(again.lookup_transfers(created)) == len(created)
        assert again.lookup_transfers(refused) == []
        for number in unknown:  # with the same request ids: decided once, whether they were before or not
            assert again.create_transfers([transfer(number)], request_id=number)[0].status is TransferStatus.CREATED
        assert balance(again) == len(created) + len(unknown)


def test_a_journal_that_fails_under_coroutines_tells_each_of_them(failing):
    disk, ledger = failing

    async def walk():
        disk.broken = "sync"
        calls = [ledger.aio.create_transfers([transfer(10 + k)]) for k in range(50)]
        return await asyncio.gather(*calls, ledger.aio.lookup_accounts([1]), return_exceptions=True)

    results = asyncio.run(walk())
    assert len(results) == 51
    assert {type(result) for result in results} <= {OutcomeUnknown, Unavailable}
    assert OutcomeUnknown in {type(result) for result in results}


def test_a_fault_inside_a_decision_ends_the_ledger_and_reopening_goes_on(tmp_path):
    parts = open_files(tmp_path, SystemDisk(), SystemClock(), system_entropy, **SMALL)
    ledger = Ledger(parts, SystemClock(), system_entropy)
    open_accounts(ledger, 1, 2)
    judge, parts.decider.judge = parts.decider.judge, None  # not to be called
    with pytest.raises(OutcomeUnknown, match="open it again"):
        ledger.create_transfers([transfer(10)], request_id=10)
    parts.decider.judge = judge
    with pytest.raises(Unavailable):
        ledger.create_transfers([transfer(11)])
    ledger.close()
    with Ledger.open(tmp_path, **SMALL) as again:
        assert again.create_transfers([transfer(10)], request_id=10)[0].status is TransferStatus.CREATED
        assert balance(again) == 1


def test_a_folder_whose_last_owner_crashed_is_opened_and_its_callers_are_answered(tmp_path):
    def opened(noted):
        return open_files(tmp_path, SystemDisk(), SystemClock(), system_entropy, crash_noted=noted, **SMALL)

    for crash in range(2):
        parts = opened(noted=crash > 0)
        parts.decider.judge = None  # not to be called
        ledger = Ledger(parts, SystemClock(), system_entropy)
        with pytest.raises(OutcomeUnknown):
            open_accounts(ledger, 1, 2)
        ledger.close()
    with Ledger(opened(noted=True), SystemClock(), system_entropy) as ledger:  # each request in a block of its own now
        assert [result.status for result in open_accounts(ledger, 1, 2)] == [AccountStatus.CREATED] * 2
        assert ledger.statistics()["blocks"] == 1
        assert ledger.create_transfers([transfer(10)])[0].status is TransferStatus.CREATED


def test_pending_transfers_expire_while_nobody_asks():
    with Ledger.in_memory() as ledger:
        open_accounts(ledger, 1, 2)
        ledger.create_transfers([transfer(1, 5, flags=TransferFlag.PENDING, timeout=1)])
        entries, swept = ledger.statistics()["next_seq"], threading.Event()
        ledger._callers._parts.decider.decided = lambda draft: swept.set()
        assert swept.wait(30)
        assert ledger.lookup_accounts([1])[0].debits_pending == 0
        assert ledger.statistics()["next_seq"] == entries + 2  # the expiry and its seal


def test_balances_can_be_set_only_in_memory(tmp_path):
    with Ledger.in_memory() as ledger:
        ledger.create_accounts([Account(id=1, ledger=1, code=1)])
        ledger.set_balances(1, 2**128 - 1, 2, 3, 4)
        account = ledger.lookup_accounts([1])[0]
        assert (account.debits_pending, account.debits_posted) == (2**128 - 1, 2)
        assert (account.credits_pending, account.credits_posted) == (3, 4)
        with pytest.raises(Invalid, match="no such account"):
            ledger.set_balances(2, 1)
    with Ledger.open(tmp_path / "books") as ledger, pytest.raises(Invalid, match="in memory"):
        ledger.set_balances(1, 1)


def test_segments_that_could_not_hold_a_block_are_refused(tmp_path):
    with pytest.raises(Invalid, match="segment_bytes"):
        Ledger.open(tmp_path / "books", segment_bytes=1 << 20)
