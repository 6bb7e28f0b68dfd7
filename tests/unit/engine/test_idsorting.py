from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.engine import idsorting
from tallystick.errors import Corrupt
from tallystick.ledger import windows
from tallystick.ledger.compiled import U64

HASHES = st.one_of(
    st.integers(1, (1 << 64) - 1),
    st.sampled_from([1, 2, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1]),
)


def table_of(rows, slots=256):
    table = np.zeros((slots, 2), "<u8")
    for hashed, position in rows:
        windows.put(table, U64(hashed), U64(position))
    return table


def all_of(slices):
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value


@given(st.lists(HASHES, max_size=100), st.integers(0, 50))
def test_a_table_comes_out_by_hash_then_position(hashes, first):
    rows = [(hashed, position) for position, hashed in enumerate(hashes)]
    table = table_of(rows)
    sorted_rows = all_of(idsorting.sorted_table(table, first, len(rows)))
    assert [tuple(row) for row in sorted_rows.tolist()] == sorted(row for row in rows if row[1] >= first)


def test_a_table_is_left_as_it_is():
    table = table_of([(5, 0), (5, 1), (3, 2)])
    before = table.copy()
    all_of(idsorting.sorted_table(table, 0, 3))
    assert (table == before).all()


def test_an_id_beyond_the_generations_end_is_no_small_thing():
    with pytest.raises(Corrupt, match="1 ids at or beyond position 3"):
        all_of(idsorting.sorted_table(table_of([(5, 2), (6, 3)]), 0, 3))


def test_a_large_table_is_sorted_in_many_slices():
    random = Random(1)
    rows = [(random.getrandbits(64) | 1, position) for position in range(150_000)]
    table = table_of(rows, slots=1 << 19)
    slices = idsorting.sorted_table(table, 0, len(rows))
    count = 0
    while True:
        try:
            next(slices)
            count += 1
        except StopIteration as end:
            result = end.value
            break
    assert count >= 2 * (1 << 19) // idsorting.SLICE_ROWS
    assert [tuple(row) for row in result.tolist()] == sorted(rows)


@given(st.lists(st.lists(HASHES, max_size=40), min_size=1, max_size=8))
def test_merged_runs_are_sorted_and_lose_nothing(hashes_of_runs):
    sources, position = [], 0
    for hashes in hashes_of_runs:
        rows = sorted((hashed, position + k) for k, hashed in enumerate(hashes))
        position += len(hashes)
        sources.append(np.array(rows, "<u8").reshape(-1, 2))
    pieces = list(idsorting.merged(sources))
    together = [tuple(row) for piece in pieces for row in piece.tolist()]
    assert together == sorted(tuple(row) for source in sources for row in source.tolist())


def test_a_large_merge_comes_in_pieces_of_bounded_size():
    generator = np.random.default_rng(2)
    sources = []
    for k in range(8):
        rows = np.empty((40_000, 2), "<u8")
        rows[:, 0] = np.sort(generator.integers(0, 1 << 64, 40_000, dtype="<u8"))
        rows[:, 1] = np.arange(k * 40_000, (k + 1) * 40_000)
        sources.append(rows)
    pieces = list(idsorting.merged(sources))
    assert len(pieces) == 5
    assert max(len(piece) for piece in pieces) < 1.1 * idsorting.SLICE_ROWS
    together = np.concatenate(pieces)
    assert (together[:-1, 0] <= together[1:, 0]).all()
    assert (np.sort(together[:, 1]) == np.arange(320_000)).all()


def test_a_cleared_table_is_empty():
    table = table_of([(5, 0), (6, 1)])
    all_of(idsorting.cleared(table))
    assert not table.any()
