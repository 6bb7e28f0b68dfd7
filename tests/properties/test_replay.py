"""Books replayed from the journal are the books that deciding left; and where a batch is cut makes no difference."""

import numpy as np
import pytest

from tallystick.engine import lookups
from tallystick.ledger.books import Counter
from tallystick.records.commands import TRANSFER, Kind
from tests.properties.deciding import decided, open_pendings, rows_of, screened_shard
from tests.properties.random_requests import NOW, TENANTS, RandomRequests


def asked_ids(requests):
    """By tenant, the ids of all transfers and requests that were ever named."""
    transfers, of_requests = {}, {}
    for commands in requests:
        tenant = int(commands["tenant"][0])
        request_id = int(commands["request_id_lo"][0]) | int(commands["request_id_hi"][0]) << 64
        of_requests.setdefault(tenant, set()).add(request_id)
        if commands["kind"][0] == Kind.TRANSFER:
            rows = commands.view(TRANSFER)
            halves = zip(rows["id_lo"].tolist(), rows["id_hi"].tolist(), strict=True)
            transfers.setdefault(tenant, set()).update(lo | hi << 64 for lo, hi in halves)
    return transfers, of_requests


def answers(shard, requests):
    """What look-ups say about everything that was ever named, by every tenant."""
    decider, said = shard.decider, []
    transfers, of_requests = asked_ids(requests)
    for tenant in TENANTS:
        ids = sorted(set().union(*transfers.values()))
        for begin in range(0, len(ids), 5000):
            said.append(lookups.transfers(decider, tenant, ids[begin : begin + 5000]).tobytes())
    for tenant, numbers in of_requests.items():
        for number in sorted(numbers):
            found = lookups.results(decider, tenant, number, b"")
            said.append((found.status, found.results.tobytes()))
    return said


@pytest.mark.parametrize("seed", [4, 5])
def test_replay_leaves_the_same_rows_pendings_answers_positions_and_time(seed):
    shard, _, requests = decided(seed, 15_000)
    before = shard.decider
    rows, pendings, said = rows_of(shard), open_pendings(shard), answers(shard, requests)
    assert pendings
    shard.restart()
    after = shard.decider
    assert after is not before
    assert rows_of(shard) == rows
    assert open_pendings(shard) == pendings
    assert answers(shard, requests) == said
    assert (after.next_seq, after.last_timestamp, after.positions) == (
        before.next_seq,
        before.last_timestamp,
        before.positions,
    )
    assert after.bookkeeper.books.counters[Counter.TOUCHED] == 0


def test_replay_gives_the_results_that_were_first_told():
    shard, results, requests = decided(8, 5_000)
    shard.restart()
    told = iter(results)
    first = {}
    for request in requests:
        key = (int(request["tenant"][0]), int(request["request_id_lo"][0]), int(request["request_id_hi"][0]))
        rows = [next(told) for _ in range(len(request))]
        if key not in first:
            first[key] = rows
            number = key[1] | key[2] << 64
            found = lookups.results(shard.decider, key[0], number, b"").results
            assert [(time, status) for time, status, _ in found.tolist()] == [
                (time, status) for time, status, _ in rows
            ]


def test_after_a_replay_the_next_requests_are_decided_as_without_it():
    batches = list(RandomRequests(6).batches(6_000, 200))
    first, then = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    plain, restarted = screened_shard(), screened_shard()
    told = []
    for shard in (plain, restarted):
        for now, batch in first:
            shard.decide(batch, now)
        if shard is restarted:
            shard.restart()
        told.append([shard.decide(batch, now) for now, batch in then])
    assert told[0] == told[1]
    assert rows_of(plain) == rows_of(restarted)
    assert open_pendings(plain) == open_pendings(restarted)
    blocks = [
        [(b.entries.tobytes(), b.details.tobytes()) for b in shard.journal.read(0)] for shard in (plain, restarted)
    ]
    assert blocks[0] == blocks[1]


def test_where_batches_are_cut_makes_no_difference():
    requests = [request for _, batch in RandomRequests(7, timeless=True).batches(20_000) for request in batch]
    told, balances = [], []
    for size_max in (1, 50, 8190):
        shard, results, now = screened_shard(), [], NOW
        for batch in cut(requests, size_max):
            results.extend(shard.decide(batch, now))
            now += 20_000
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


def cut(requests, size_max):
    """Batches of at most so many commands, or of one request."""
    batch, count = [], 0
    for request in requests:
        if batch and count + len(request) > size_max:
            yield batch
            batch, count = [], 0
        batch.append(request)
        count += len(request)
    yield batch
