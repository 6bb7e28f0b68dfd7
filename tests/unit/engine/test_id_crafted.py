"""Ids crafted against a key that leaked, under the key in use: no dearer than random ones. Counted, not timed."""

import numpy as np
import pytest

from tallystick.engine import bloom
from tallystick.engine.idindex import IdIndex
from tallystick.ledger import windows
from tallystick.ledger.compiled import U64, compiled
from tests.unit.engine.id_model import KEY, TENANT

LEAKED = KEY
SECRET = np.array([0x9D5C1F0B7A3E6842, 0x3B8F64D2A197C05E, 0xE4720C9B58D1F63A, 0x16A9D83F4C7B2E05], "<u8")
COUNT = 131_000


def crafted(count, begin=0):
    """Ids that all have one hash under the leaked key: the second factor of its product is zero for each."""
    lo = np.arange(begin + 1, begin + count + 1, dtype="<u8")
    return lo, np.full(count, LEAKED[3], "<u8")


def random_columns(seed, count):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 1 << 64, count, dtype="<u8"), generator.integers(0, 1 << 64, count, dtype="<u8")


@compiled
def put_all(table, hashes):
    for k in range(hashes.shape[0]):
        windows.put(table, hashes[k], U64(k))


@compiled
def pass_all(words, hashes):
    passed = 0
    for k in range(hashes.shape[0]):
        if bloom.perhaps(words, hashes[k]):
            passed += 1
    return passed


def index_of(key, columns):
    lo, hi = columns
    index = IdIndex(key, COUNT)
    put_all(index.current, index.hashes(TENANT, lo, hi))
    index.note(lo, hi, np.ones(len(lo), bool))
    return index


def probes_of(table):
    """(most, all) slots looked at to find each id in the table once."""
    slots = len(table)
    at = np.flatnonzero(table[:, 1])
    home = (table[at, 0] & U64(slots - 1)).astype(np.int64)
    looked_at = (at - home) % slots + 1
    return int(looked_at.max()), int(looked_at.sum())


def test_whoever_knows_the_key_can_make_every_look_up_walk_past_all_ids():
    """The attack is real: without it the next test would show nothing."""
    index = index_of(LEAKED, crafted(2_000))
    assert probes_of(index.current) == (2_000, 2_000 * 2_001 // 2)


@pytest.mark.parametrize("seed", range(3))
def test_under_another_key_131_000_crafted_ids_take_as_many_probes_as_random_ones(seed):
    of_crafted = probes_of(index_of(SECRET, crafted(COUNT, begin=seed * COUNT)).current)
    of_random = probes_of(index_of(SECRET, random_columns(seed, COUNT)).current)
    assert of_crafted[1] < 1.05 * of_random[1]
    assert of_crafted[0] < 3 * of_random[0]


def test_under_another_key_crafted_ids_in_a_run_are_told_apart_like_random_ones():
    index = index_of(SECRET, crafted(COUNT))
    for upto in (COUNT, COUNT + 1):
        index.rotate(upto)
    (run,) = index._published.runs
    assert len(np.unique(run.rows[:, 0])) == COUNT
    lo, hi = crafted(COUNT, begin=COUNT)
    of_crafted = pass_all(run.words, index.hashes(TENANT, lo, hi))
    of_random = pass_all(run.words, index.hashes(TENANT, *random_columns(9, COUNT)))
    assert of_crafted < 1.2 * of_random
    which, _ = index.candidates(index.hashes(TENANT, lo, hi), lo, hi, np.ones(COUNT, bool))
    assert not len(which)
