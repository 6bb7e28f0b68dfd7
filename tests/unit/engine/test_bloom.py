import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tallystick.engine import bloom
from tallystick.ledger.compiled import U64

HASHES = st.one_of(st.integers(1, (1 << 64) - 1), st.sampled_from([1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]))


def rows_of(hashes):
    rows = np.zeros((len(hashes), 2), "<u8")
    rows[:, 0] = hashes
    rows.setflags(write=False)
    return rows


def count_perhaps(words, hashes):
    with np.errstate(over="ignore"):
        return sum(bool(bloom.perhaps(words, hashed)) for hashed in hashes)


@given(st.lists(HASHES, max_size=200))
def test_what_was_added_is_never_denied(hashes):
    words = bloom.empty(len(hashes))
    with np.errstate(over="ignore"):
        bloom.add(words, rows_of(hashes))
    assert count_perhaps(words, [U64(hashed) for hashed in hashes]) == len(hashes)


def test_an_empty_filter_denies_everything():
    assert count_perhaps(bloom.empty(0), [U64(1), U64((1 << 64) - 1)]) == 0


def test_twelve_bits_an_id_say_perhaps_to_less_than_one_in_a_hundred_and_fifty_strangers():
    generator = np.random.default_rng(1)
    ids = 100_000
    words = bloom.empty(ids)
    assert len(words) * 64 / ids < 12.01
    with np.errstate(over="ignore"):
        bloom.add(words, rows_of(generator.integers(1, 1 << 64, ids, dtype="<u8")))
    wrong = count_perhaps(words, generator.integers(1, 1 << 64, 50_000, dtype="<u8"))
    assert 0.003 < wrong / 50_000 < 1 / 150


def test_all_of_the_filter_is_used():
    generator = np.random.default_rng(2)
    words = bloom.empty(20_000)
    with np.errstate(over="ignore"):
        bloom.add(words, rows_of(generator.integers(1, 1 << 64, 20_000, dtype="<u8")))
    per_line = np.bitwise_count(words).reshape(-1, bloom.LINE_WORDS)
    assert per_line.sum(axis=1).min() > 0
    assert 0.3 < np.bitwise_count(words).sum() / (64 * len(words)) < 0.5
