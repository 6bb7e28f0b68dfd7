"""The id window's tables, against a dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.ledger import windows
from tallystick.ledger.compiled import U64

HASHES = st.integers(1, 2**64 - 1) | st.sampled_from([1, 15, 16, 31, 2**64 - 1, 2**63])  # many meet in 32 slots
POSITIONS = st.integers(0, 2**64 - 2)


def positions_of(table, hashed):
    """All that the table knows of a hash, in the order it tells them."""
    found = []
    with np.errstate(over="ignore"):
        position, cursor = windows.find(table, U64(hashed), windows.start(table, U64(hashed)))
        while position != windows.NOT_FOUND:
            found.append(int(position))
            position, cursor = windows.find(table, U64(hashed), cursor)
    return found


@given(st.lists(st.tuples(HASHES, POSITIONS), max_size=16), HASHES)
def test_every_position_put_for_a_hash_is_found_and_no_other(puts, stranger):
    table = np.zeros((windows.slots_for(16), 2), "<u8")
    kept = {stranger: []}
    for hashed, position in puts:
        windows.put(table, U64(hashed), U64(position))
        kept.setdefault(hashed, []).append(position)
    assert {hashed: positions_of(table, hashed) for hashed in kept} == kept


def test_a_table_runs_on_from_its_last_slot_to_its_first():
    table = np.zeros((16, 2), "<u8")
    for position in range(4):
        windows.put(table, U64(15), U64(position))
    assert positions_of(table, 15) == [0, 1, 2, 3]
    assert table[15, 1] == 1
    assert table[2, 1] == 4


@pytest.mark.parametrize("ids", [1, 8, 9, 16, 17, 1000, 8190, 2**20])
def test_a_table_is_a_power_of_two_and_at_most_half_full(ids):
    slots = windows.slots_for(ids)
    assert slots & (slots - 1) == 0
    assert slots >= 2 * ids
    assert slots == 16 or slots < 4 * ids
