"""Random requests decided by an engine in memory, and all that came of it as bytes.

Run as a program (`python -m tests.properties.deciding SEED COMMANDS FILE`) it decides in a process of its own, so that
NUMBA_DISABLE_JIT can be set there.
"""

import sys

import numpy as np

from tallystick.lab.shard import Shard
from tallystick.ledger.books import Counter
from tallystick.records.commands import COMMAND
from tallystick.records.entries import WORK
from tests.properties.random_requests import REVIEW_TIMEOUT_S, RandomRequests, verdict_of

WINDOW_IDS = 1000
PENDINGS_MAX = 1 << 14


def screened_shard(window_ids=WINDOW_IDS):
    """One whose screening has its say."""
    return Shard(8192, window_ids, pendings_max=PENDINGS_MAX, verdict_of=verdict_of, review_timeout=REVIEW_TIMEOUT_S)


def decided(seed, commands, timeless=False):
    """A shard after random requests, with all results; and the requests."""
    shard, results, requests = screened_shard(), [], []
    for now, batch in RandomRequests(seed, timeless).batches(commands, 2000):
        results.extend(shard.decide(batch, now))
        requests.extend(batch)
    return shard, results, requests


def rows_of(shard):
    """The accounts' rows, as bytes."""
    bookkeeper = shard.decider.bookkeeper
    return bookkeeper.books.rows.view(np.ndarray)[: bookkeeper.count()].tobytes()


def open_pendings(shard):
    """The open pending transfers, in order of creation, whichever rows they have."""
    books = shard.decider.bookkeeper.books
    rows = books.pendings.view(np.ndarray)[: int(books.counters[Counter.PENDINGS])]
    opened = rows[rows["ending"] == 1]
    return opened[np.argsort(opened["seq"])].tobytes()


def everything(seed, commands):
    """Entries without their nonces, details without the salts, results, rows: each as an array."""
    shard, results, requests = decided(seed, commands)
    blocks = list(shard.journal.read(0))
    entries = np.concatenate([block.entries for block in blocks]).view(WORK)
    details = np.concatenate([block.details for block in blocks])
    seals = np.array(entries["kind"]) == 4
    entries["nonce"] = 0
    entries["event"][seals] = 0  # which holds a hash of the salt
    details["fingerprint"][seals] = 0
    return {
        "commands": np.concatenate(requests).view(COMMAND).view(np.uint8),
        "entries": entries.view(np.uint8),
        "details": details.view(np.uint8),
        "results": np.array(results, "<u8"),
        "rows": np.frombuffer(rows_of(shard), np.uint8),
        "pendings": np.frombuffer(open_pendings(shard), np.uint8),
    }


if __name__ == "__main__":
    with np.errstate(over="ignore"):
        np.savez(sys.argv[3], **everything(int(sys.argv[1]), int(sys.argv[2])))
