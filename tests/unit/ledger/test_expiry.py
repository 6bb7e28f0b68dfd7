"""The indexed heap of pending transfers that expire, and the table that finds them, against plain Python."""

import heapq
from random import Random

import numpy as np
import pytest

from tallystick.ledger import expiry
from tallystick.ledger.books import Bookkeeper, Counter
from tallystick.ledger.compiled import U64
from tallystick.ledger.pendings import NO_ROW, enter, find_pending, leave
from tallystick.ledger.transfers import open_pending
from tallystick.records.endings import Ending
from tallystick.records.entries import TRANSFER_WORK

ROWS = 20_000
KEY = np.arange(1, 5, dtype="<u8") * np.uint64(0x9E3779B97F4A7C15)


@pytest.fixture
def books():
    return Bookkeeper(16, KEY, KEY, np.zeros((16, 2), "<u8"), np.zeros((16, 2), "<u8"), ROWS).books


def push(books, row, expires_at, created_at):
    books.pendings["expires_at"][row], books.pendings["created_at"][row] = expires_at, created_at
    expiry.push(books.heap, books.heap_at, books.counters, books.pendings[row], row)


def remove(books, row):
    expiry.remove(books.heap, books.heap_at, books.counters, row)


def due(books, now):
    """The rows that a block at `now` begins with. They were never in the table, so that they are not given away."""
    count = expiry.take_due(books, U64(now))
    books.counters[Counter.RESOLVED] = 0
    return books.resolved[:count].tolist()


def check_heap(books):
    """Each parent before its children, and each row where `heap_at` says."""
    count = int(books.counters[Counter.HEAP])
    keys = books.heap[:count, :2].tolist()
    assert all(keys[(at - 1) // expiry.CHILDREN] <= keys[at] for at in range(1, count))
    rows = books.heap[:count, 2].astype(np.int64)
    assert (books.heap_at[rows] == np.arange(1, count + 1)).all()
    assert np.count_nonzero(books.heap_at) == count


def test_what_expires_first_comes_first_and_ties_by_creation(books):
    for row, (expires_at, created_at) in enumerate([(30, 1), (10, 2), (20, 3), (10, 1), (2**64 - 1, 4)]):
        push(books, row, expires_at, created_at)
    assert due(books, 9) == []
    assert due(books, 10) == [3, 1]
    assert due(books, 30) == [2, 0]
    assert due(books, 2**64 - 2) == []


def test_rows_leave_from_any_place_and_the_rest_stays_in_order(books):
    random = Random(1)
    wanted = {}
    for row in range(3_000):
        wanted[row] = (random.randrange(1, 500), row)
        push(books, row, *wanted[row])
    for step in range(2_000):
        row = random.choice(list(wanted))
        del wanted[row]
        remove(books, row)
        if step % 3 == 0:
            wanted[row] = (random.randrange(1, 500), 10_000 + step)
            push(books, row, *wanted[row])
    check_heap(books)
    order = [(*key, row) for row, key in wanted.items()]
    heapq.heapify(order)
    assert due(books, 1_000) == [heapq.heappop(order)[2] for _ in range(len(order))]


def test_removing_what_never_expires_does_nothing(books):
    push(books, 1, 5, 5)
    remove(books, 0)
    assert due(books, 5) == [1]
    remove(books, 1)
    assert int(books.counters[Counter.HEAP]) == 0


def test_a_block_expires_8_190_and_the_next_goes_on(books):
    for row in range(10_000):
        push(books, row, 7, row)
    assert due(books, 7) == list(range(expiry.EXPIRIES_MAX))
    assert due(books, 7) == list(range(expiry.EXPIRIES_MAX, 10_000))
    assert due(books, 7) == []


def test_rows_are_found_by_id_until_they_leave_and_no_tombstone_hides_any(books):
    slots, pendings = np.zeros(64, "<u8"), books.pendings
    random, there = Random(2), {}
    for _ in range(5_000):
        row = random.randrange(30)
        hashed = U64(there[row] if row in there else random.choice([row, row % 4 << 32, row % 3]) + 1)
        if row in there:
            leave(slots, hashed, row)
            del there[row]
        else:
            pendings["id_lo"][row], pendings["tenant"][row] = row + 100, row % 2
            enter(slots, hashed, row)
            there[row] = int(hashed)
        for other in range(30):
            wanted = other if other in there else NO_ROW
            found = find_pending(slots, pendings, U64(there.get(other, 1)), U64(other % 2), U64(other + 100), U64(0))
            assert found == wanted
    for row, hashed in there.items():
        leave(slots, U64(hashed), row)
    assert not slots.any()


def test_full_books_take_no_more_and_a_row_given_away_is_used_again():
    books = Bookkeeper(16, KEY, KEY, np.zeros((16, 2), "<u8"), np.zeros((16, 2), "<u8"), 2).books
    t = np.zeros(1, TRANSFER_WORK)

    def reserve(number):
        t["id_lo"] = number
        tables = (books.pendings, books.pending_slots, books.pending_free, books.heap, books.heap_at, books.counters)
        zero = U64(0)
        hashed = hash_of(books, number)
        return open_pending(
            *tables, hashed, t[0], zero, zero, np.uint16(2), np.uint32(0), np.uint8(0), 0, 1, zero, zero
        )

    assert [reserve(1), reserve(2), reserve(3)] == [0, 1, NO_ROW]
    assert books.pendings["ending"].tolist() == [Ending.OPEN, Ending.OPEN]
    expiry.free_row(books.pendings, books.pending_slots, books.pending_free, books.counters, books.id_keys, 0)
    assert [reserve(3), reserve(4)] == [0, NO_ROW]


def hash_of(books, number):
    from tallystick.ledger.hashing import hash_id

    return hash_id(books.id_keys, U64(0), U64(number), U64(0))
