"""Books replayed from the journal are the books that deciding left; and where a batch is cut makes no difference."""

import numpy as np
import pytest

from tallystick.engine import lookups
from tallystick.lab.shard import Shard
from tallystick.ledger.books import Counter
from tallystick.records.commands import TRANSFER, Kind
from tests.properties.deciding import WINDOW_IDS, decided, rows_of
from tests.properties.random_requests import NOW, TENANTS, RandomRequests


def asked_ids(requests):
    """By tenant, the ids of all transfers and requests that were ever named."""
    transfers, of_requests = {tenant: set() for tenant in TENANTS}, {tenant: set() for tenant in TENANTS}
    for commands in requests:
        tenant = int(commands["tenant"][0])
        of_requests[tenant].add(int(commands["request_id_lo"][0]) | int(commands["request_id_hi"][0]) << 64)
        if commands["kind"][0] == Kind.TRANSFER:
            rows = commands.view(TRANSFER)
            halves = zip(rows["id_lo"].tolist(), rows["id_hi"].tolist(), strict=True)
            transfers[tenant].update(lo | hi << 64 for lo, hi in halves)
    return transfers, of_requests


def answers(shard, requests):
    """What look-ups say about everything that was ever named, by every tenant."""
    decider, said = shard.decider, []
    transfers, of_requests = asked_ids(requests)
    for tenant in TENANTS:
        ids = sorted(set().union(*transfers.values()))
        for begin in range(0, len(ids), 5000):
            said.append(lookups.transfers(decider, tenant, ids[begin : begin + 5000]).tobytes())
        for number in sorted(of_requests[tenant]):
            found = lookups.results(decider, tenant, number, b"")
            said.append((found.status, found.results.tobytes()))
    return said


@pytest.mark.parametrize("seed", [4, 5])
def test_replay_leaves_the_same_rows_answers_positions_and_time(seed):
    shard, _, requests = decided(seed, 20_000)
    before = shard.decider
    rows, said = rows_of(shard), answers(shard, requests)
    shard.restart()
    after = shard.decider
    assert after is not before
    assert rows_of(shard) == rows
    assert answers(shard, requests) == said
    assert (after.next_seq, after.last_timestamp, after.positions) == (
        before.next_seq,
        before.last_timestamp,
        before.positions,
    )
    assert after.bookkeeper.books.counters[Counter.TOUCHED] == 0


def test_after_a_replay_the_next_requests_are_decided_as_without_it():
    stream = RandomRequests(6)
    first, then = stream.take(3_000), stream.take(3_000)
    plain, restarted = Shard(8192, WINDOW_IDS), Shard(8192, WINDOW_IDS)
    told = []
    for shard in (plain, restarted):
        for at, request in enumerate(first):
            shard.decide([request], NOW + at * 10_000)
        if shard is restarted:
            shard.restart()
        later = NOW + len(first) * 10_000
        told.append([shard.decide([request], later + at * 10_000) for at, request in enumerate(then)])
    assert told[0] == told[1]
    assert rows_of(plain) == rows_of(restarted)
    blocks = [
        [(b.entries.tobytes(), b.details.tobytes()) for b in shard.journal.read(0)] for shard in (plain, restarted)
    ]
    assert blocks[0] == blocks[1]


def test_where_batches_are_cut_makes_no_difference():
    stream = RandomRequests(7)
    requests = stream.take(30_000)
    told, balances = [], []
    for size_max in (1, 50, 8190):
        shard, results, now = Shard(8192, WINDOW_IDS), [], NOW
        for batch in stream.batches(requests, size_max):
            results.extend(shard.decide(batch, now))
            now += 10_000
        told.append([(status, replayed) for _, status, replayed in results])
        rows = shard.decider.bookkeeper.books.rows.view(np.ndarray)[: shard.decider.bookkeeper.count()]
        names = [
            name
            for name in rows.dtype.names
            if name not in ("created_at", "created_seq", "previous")  # are positions
        ]
        balances.append([rows[name].tobytes() for name in names])
    assert told[0] == told[1] == told[2]
    assert balances[0] == balances[1] == balances[2]
