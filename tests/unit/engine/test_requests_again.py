"""A request that comes again: in its batch, in the next, after a restart, after its window has passed ten times."""

from random import Random

import pytest

from tallystick.errors import Corrupt
from tallystick.records.commands import Kind, Opcode
from tallystick.statuses import CREATED, AccountStatus, ControlStatus, RequestStatus, TransferStatus
from tests.unit.engine.shard import Shard, accounts, control, fingerprint, transfers

KEY_REUSED = int(RequestStatus.IDEMPOTENCY_KEY_REUSED)
FROZEN = int(TransferStatus.DEBIT_ACCOUNT_FROZEN)
EXISTS = int(TransferStatus.EXISTS)
MONTH_MS = 30 * 24 * 3600 * 1000


@pytest.fixture
def shard():
    shard = Shard()
    shard.start()
    shard.decide(accounts(1, 1, 2))
    return shard


def statuses(rows):
    return [status for _, status, _ in rows]


def repeated(rows):
    """The same results, marked as given before."""
    return [(timestamp, status, 1) for timestamp, status, _ in rows]


def test_the_same_request_gets_its_first_results_and_makes_no_entry(shard):
    first = shard.decide(transfers(10, 100, 101))
    entries = shard.entries()
    assert statuses(first) == [CREATED, CREATED]
    assert shard.decide(transfers(10, 100, 101)) == repeated(first)
    shard.start()
    assert shard.decide(transfers(10, 100, 101)) == repeated(first)
    assert shard.entries() == entries


def test_other_content_under_the_same_id_is_told_so_and_makes_no_entry(shard):
    shard.decide(transfers(10, 100))
    entries = shard.entries()
    for other in (transfers(10, 101), transfers(10, 100, metadata=bytes(31) + b"m"), accounts(10, 7)):
        assert statuses(shard.decide(other)) == [KEY_REUSED]
    shard.start()
    assert statuses(shard.decide(transfers(10, 101, 102))) == [KEY_REUSED, KEY_REUSED]
    assert shard.entries() == entries


def test_what_the_gateway_made_is_no_part_of_the_content(shard):
    first = shard.decide(transfers(10, 100))
    assert shard.decide(transfers(10, 100, expires_at=1)) == repeated(first)


def test_another_tenant_has_ids_of_its_own(shard):
    shard.decide(accounts(1, 1, 2, tenant=2))
    first = shard.decide(transfers(10, 100))
    second = shard.decide(transfers(10, 100, tenant=2))
    assert statuses(first) == statuses(second) == [CREATED]
    assert first != second


def test_duplicates_in_one_block_get_the_one_outcome(shard):
    entries = shard.entries()
    rows = shard.decide(transfers(10, 100), transfers(11, 101), transfers(10, 100), transfers(10, 999))
    assert statuses(rows) == [CREATED, CREATED, CREATED, KEY_REUSED]
    assert rows[2] == (rows[0][0], CREATED, 1)
    assert shard.entries() == entries + 2


def test_duplicates_in_lanes_of_one_batch_get_the_one_outcome(shard):
    entries = shard.entries()
    numbers = {lane: shard.submit(transfers(10, 100, 101), lane=lane) for lane in ("pay", "second", "third")}
    assert shard.engine.loop() == 6  # one batch
    shard.engine.write()
    rows = [shard.answer(number, lane) for lane, number in numbers.items()]
    assert sorted(rows[k][0][2] for k in range(3)) == [0, 1, 1]
    assert len({(tuple(row[:2] for row in lane)) for lane in rows}) == 1
    assert shard.entries() == entries + 2


def test_a_retry_waits_for_the_block_that_is_being_written(shard):
    engine = shard.engine
    first, again = shard.submit(transfers(10, 100)), None
    engine.loop()  # decided, handed over, not written
    again = shard.submit(transfers(10, 100), transfers(10, 5))
    assert shard.results(1, 10).results.tolist()  # the engine knows; nobody is told yet
    before = len(engine.answers)
    with pytest.raises(LookupError):
        shard.answer(first)
    engine.loop()  # `put` waits for the first block, so now that is durable
    assert len(engine.answers) == before + 1
    shard.settle()
    rows = shard.answer(again)
    assert rows == [*repeated(shard.answer(first)), (0, KEY_REUSED, 0)]


def test_a_retry_of_what_a_kill_took_is_decided_then(shard):
    shard.submit(transfers(10, 100))
    shard.engine.loop()
    shard.start()
    rows = shard.decide(transfers(10, 100), lane="second")
    assert statuses(rows) == [CREATED]
    assert shard.entries() == 3


def test_a_payment_refused_for_a_freeze_stays_refused_after_the_unfreeze(shard):
    shard.decide(control(20, Opcode.FREEZE), lane="control", control=True)
    first = shard.decide(transfers(10, 100))
    assert statuses(first) == [FROZEN]
    shard.decide(control(21, Opcode.UNFREEZE), lane="control", control=True)
    assert shard.decide(transfers(10, 100)) == repeated(first)
    shard.start()
    assert shard.decide(transfers(10, 100)) == repeated(first)
    # The transfer's id is spent; a new payment is a new id.
    assert statuses(shard.decide(transfers(11, 100))) == [TransferStatus.ID_ALREADY_FAILED]
    assert statuses(shard.decide(transfers(12, 101))) == [CREATED]


def test_a_control_command_is_decided_before_payments_that_wait(shard):
    payment = shard.submit(transfers(10, 100))
    freeze = shard.submit(control(20, Opcode.FREEZE), lane="control", control=True)
    shard.settle()
    assert statuses(shard.answer(freeze, "control")) == [ControlStatus.APPLIED]
    assert statuses(shard.answer(payment)) == [FROZEN]


def ids_of(kind, count, random):
    """Request and transfer ids as clients make them: in no order, or of a clock that is a month off."""
    if kind == "random":
        return [random.getrandbits(128) for _ in range(count)]
    now_ms = 1_800_000_000_000
    off = {"backdated": -MONTH_MS, "future-dated": MONTH_MS, "ordered": 0}[kind]
    return [(now_ms + off + k) << 80 | 7 << 76 | random.getrandbits(62) for k in range(count)]


@pytest.mark.parametrize("kind", ["random", "backdated", "future-dated", "ordered"])
def test_first_results_are_given_after_the_window_has_passed_ten_times_over(shard, kind):
    random = Random(5)
    ids = ids_of(kind, 200, random)  # windows hold 16
    first = {}
    for number in ids:
        first[number] = shard.decide(transfers(number, number), accounts(number + 1, 1))
        shard.engine.keep_house()
    for index in (shard.engine.decider.request_index, shard.engine.decider.transfer_index):
        assert max(label.stop for label in index.runs) > 200
    entries = shard.entries()
    for restarts in range(2):
        for number in random.sample(ids, 40) + ids[:5]:
            assert shard.decide(transfers(number, number), accounts(number + 1, 1)) == repeated(first[number])
            assert statuses(shard.decide(transfers(number, number + 7))) == [KEY_REUSED]
        assert shard.entries() == entries, restarts
        shard.start()
    # Under other request ids the transfers exist, with the timestamps of the first.
    for again, number in enumerate(random.sample(ids, 10)):
        [(timestamp, status, _)] = shard.decide(transfers(again + 1_000_000, number))
        assert (timestamp, status) == (first[number][0][0], EXISTS)


def test_exists_gives_the_timestamp_of_what_exists_at_first_and_in_every_retry(shard):
    [(created, _, _)] = shard.decide(transfers(10, 100))
    opened = shard.decide(accounts(1, 1, 2))[0][0]
    transfer, account = shard.decide(transfers(11, 100)), shard.decide(accounts(12, 1))
    assert transfer == [(created, EXISTS, 0)]
    assert account == [(opened, int(AccountStatus.EXISTS), 0)]
    for _ in range(2):
        assert shard.decide(transfers(11, 100)) == [(created, EXISTS, 1)]
        assert shard.decide(accounts(12, 1)) == [(opened, int(AccountStatus.EXISTS), 1)]
        shard.start()


def test_exists_within_a_block_and_within_a_request(shard):
    [(created, _, _), *others] = shard.decide(transfers(10, 100, 100), transfers(11, 100))
    assert others == [(created, EXISTS, 0)] * 2
    shard.start()
    assert shard.decide(transfers(11, 100)) == [(created, EXISTS, 1)]


def test_an_expired_request_has_an_entry_and_its_transfer_ids_stay_free(shard):
    now = shard.clock.wall_ns()
    shard.clock.advance(10)
    first = shard.decide(transfers(10, 100, 101, expires_at=now))
    assert statuses(first) == [TransferStatus.REQUEST_EXPIRED] * 2
    assert shard.decide(transfers(10, 100, 101)) == repeated(first)  # whatever its new deadline
    assert statuses(shard.decide(transfers(11, 100))) == [CREATED]


def test_a_redelivered_lane_is_harmless(shard):
    first = shard.decide(transfers(10, 100))
    entries = shard.entries()
    shard.engine.decider.positions.clear()  # as if the journal had never said how far
    shard.settle()
    assert shard.answer(2) == repeated(first)
    assert shard.entries() == entries


def test_a_lane_nobody_knew_starts_at_its_first_block(shard):
    numbers = [shard.submit(transfers(10 + k, 100 + k), lane="new") for k in range(3)]
    shard.start()
    shard.settle()
    assert numbers == [1, 2, 3]
    assert [statuses(shard.answer(number, "new")) for number in numbers] == [[CREATED]] * 3


def test_a_position_past_the_lane_s_end_is_corrupt(shard):
    shard.engine.decider.positions[shard.lane("pay").id] = 99
    with pytest.raises(Corrupt):
        shard.engine.loop()


def test_a_position_of_a_lane_that_is_gone_is_corrupt(shard):
    shard.engine.decider.positions[b"no such lane at."[:16]] = 1
    with pytest.raises(Corrupt):
        shard.engine.loop()


@pytest.mark.parametrize("change", ["index", "count", "tenant", "kind", "version"])
def test_a_block_of_torn_requests_is_corrupt_and_nothing_is_decided(shard, change):
    commands = transfers(10, 100, 101)
    commands[change][1] += 1
    next_seq = shard.engine.decider.next_seq
    shard.submit(commands)
    with pytest.raises(Corrupt):
        shard.settle()
    assert shard.engine.decider.next_seq == next_seq


def test_replay_gives_the_books_that_deciding_gave(shard):
    random = Random(3)
    for number in range(60):
        kind = random.choice((Kind.TRANSFER, Kind.TRANSFER, Kind.CONTROL, Kind.ACCOUNT))
        if kind is Kind.CONTROL:
            shard.decide(control(number + 9, random.choice(list(Opcode)), random.randint(1, 3)))
        elif kind is Kind.ACCOUNT:
            shard.decide(accounts(number + 9, random.randint(1, 6), flag_bits=2))
        else:
            shard.decide(transfers(number + 9, *(random.randint(1, 90) for _ in range(3))))
    live = shard.engine.decider
    live.make_room()  # moves slots, as the start does before each block
    replayed = shard.start().decider
    count = live.bookkeeper.count()
    for name in live.bookkeeper.books.rows.dtype.names:
        before, after = (each.bookkeeper.books.rows[name][:count].tolist() for each in (live, replayed))
        assert before == after, name
    assert (live.next_seq, live.last_timestamp) == (replayed.next_seq, replayed.last_timestamp)
    assert live.positions == replayed.positions


def test_a_look_up_knows_what_was_decided_and_nothing_of_others(shard):
    payment = transfers(10, 100, 101)
    assert shard.results(1, 10).status == RequestStatus.NOT_DECIDED
    rows = shard.decide(payment)
    for _ in range(2):
        found = shard.results(1, 10, fingerprint(payment))
        assert found.status is None
        assert found.results.tolist() == repeated(rows)
        assert shard.results(1, 10).results.tolist() == repeated(rows)
        other = shard.results(1, 10, fingerprint(transfers(10, 5)))
        assert other.status == RequestStatus.IDEMPOTENCY_KEY_REUSED
        assert len(other.results) == 0
        assert shard.results(2, 10, fingerprint(payment)).status == RequestStatus.NOT_DECIDED
        assert shard.results(1, 11).status == RequestStatus.NOT_DECIDED
        shard.start()
