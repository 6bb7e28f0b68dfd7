"""The keyed hash: as its definition says, and even for ids that somebody chose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.ledger import hashing
from tallystick.ledger.compiled import ONE, U64, ZERO, compiled

WORDS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
UNKEYED = np.zeros(4, "<u8")
CRAFTED = 131_000
SLOTS = 1 << 18  # half full with so many


@compiled
def hash_all(keys, los, his, hashes):
    for k in range(los.shape[0]):
        hashes[k] = hashing.hash_id(keys, ONE, los[k], his[k])


@compiled
def count_probes(hashes, slots, most):
    """Steps beyond the first that it takes to put all into a table; stops at `most`."""
    mask = U64(slots.shape[0]) - ONE
    steps = 0
    for k in range(hashes.shape[0]):
        at = hashes[k] & mask
        while slots[at] != ZERO:
            at = (at + ONE) & mask
            steps += 1
            if steps >= most:
                return steps
        slots[at] = ONE
    return steps


def probes(keys, los, his, most=10**8):
    hashes = np.empty(len(los), "<u8")
    hash_all(keys, los, his, hashes)
    return int(count_probes(hashes, np.zeros(SLOTS, "<u8"), most))


def key(seed):
    return np.random.default_rng(seed).integers(0, 2**64, 4, dtype="<u8")


def random_ids(seed=9):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**64, CRAFTED, dtype="<u8"), rng.integers(0, 2**64, CRAFTED, dtype="<u8")


@given(WORDS, WORDS)
def test_fold_is_the_high_half_xor_the_low_half_of_the_product(a, b):
    with np.errstate(over="ignore"):
        assert int(hashing.fold(U64(a), U64(b))) == (a * b >> 64) ^ (a * b & 2**64 - 1)


@given(st.lists(WORDS, min_size=7, max_size=7))
def test_a_hash_is_never_zero_which_tables_keep_for_empty(words):
    *keys, tenant, lo, hi = words
    with np.errstate(over="ignore"):
        assert int(hashing.hash_id(np.array(keys, "<u8"), U64(tenant), U64(lo), U64(hi))) != 0


def test_without_a_key_ids_can_be_crafted_that_all_meet_in_one_slot():
    los = np.arange(1, CRAFTED + 1, dtype="<u8")
    assert probes(UNKEYED, los, np.zeros(CRAFTED, "<u8"), most=10**7) == 10**7


PATTERNS = {
    "crafted": lambda n: (n, n * 0),
    "counted up": lambda n: (n, n * 0 + ONE),
    "counted up in the upper half": lambda n: (n * 0 + ONE, n),
    "apart by 2^32": lambda n: (n << U64(32), n * 0),
    "apart by 2^47": lambda n: (n << U64(47), n),
    "halves alike": lambda n: (n, n),
    "halves opposite": lambda n: (n, ~n),
    "time-ordered": lambda n: (n * U64(0x9E3779B97F4A7C15), n >> U64(4)),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_under_a_key_131_000_chosen_ids_take_as_many_probes_as_random_ones(pattern, seed):
    numbers = np.arange(1, CRAFTED + 1, dtype="<u8")
    with np.errstate(over="ignore"):
        los, his = PATTERNS[pattern](numbers)
    chosen, random = probes(key(seed), los, his), probes(key(seed), *random_ids())
    assert chosen < 1.2 * random


def test_tenants_and_keys_give_other_hashes():
    los, his = random_ids()
    one, other = np.empty(CRAFTED, "<u8"), np.empty(CRAFTED, "<u8")
    hash_all(key(1), los, his, one)
    hash_all(key(2), los, his, other)
    assert not (one == other).any()
    with np.errstate(over="ignore"):
        by_tenant = {int(hashing.hash_id(key(1), U64(tenant), los[0], his[0])) for tenant in range(1000)}
    assert len(by_tenant) == 1000
