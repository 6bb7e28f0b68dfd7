"""The writer: seals a draft, makes it durable, lets its answers out. The next block is decided meanwhile.

Everything the engine says leaves by this one gate, in order, so nothing is told before it is durable (DESIGN §4).
A failed append ends the process: start-up is the one recovery path.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tallystick.clock import Entropy
from tallystick.engine.drafts import Answer, Draft
from tallystick.journal.port import Journal
from tallystick.ledger.batches import Outcome
from tallystick.ledger.compiled import U64, compiled
from tallystick.records import blocks
from tallystick.records.commands import Kind
from tallystick.records.details import DETAILS, DETAILS_SIZE
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import LENGTH_BYTESWAPPED
from tallystick.records.entries import VERSION as ENTRY_VERSION

NONCE_SIZE = 16
SALT_SIZE = 32
HASH_WORDS = 8
SEAL = int(Kind.SEAL)
_WORD = np.dtype("<u8")
_SALT_AT = DETAILS.fields["fingerprint"][1]  # type: ignore[index]
_VERSION_AT = DETAILS.fields["version"][1]  # type: ignore[index]


class Gate(Protocol):
    """Where durable outcomes go. Called by the writer only."""

    def decided(self, answers: list[Answer], position: int) -> None:
        """Tell those who wait; all of it is before `position`. May be lost on the way: a look-up is always right."""
        ...

    def durable(self, positions: Mapping[bytes, int]) -> None:
        """These lane positions are in the journal."""
        ...


LookedUp = Callable[[], None]
"""An answer to a look-up, to be sent once all before it is durable."""


@dataclass
class Writer:
    """Owns the writing end of the journal and its chain of hashes."""

    journal: Journal
    gate: Gate
    entropy: Entropy
    shard: int = 0
    blocks_written: int = 0
    bytes_written: int = 0
    _hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._hash = self.journal.tail().hash

    def step(self, work: Draft | LookedUp) -> None:
        """Write one draft, or send one look-up's answer. Durable, and answered, when it returns."""
        if not isinstance(work, Draft):
            work()
            return
        if work.outcome is not None:
            self._append(work, work.outcome)
        self.gate.decided(work.answers, work.next_seq)
        if work.outcome is not None:
            self.gate.durable(work.positions)

    def _append(self, draft: Draft, outcome: Outcome) -> None:
        # As bytes: NumPy takes microseconds for a field of one row.
        lanes, details = blocks.pack_positions(draft.positions), blocks.bytes_of(outcome.details)
        seal(outcome.entries, details, lanes, draft.first_seq, self.entropy, self.shard)
        entries = blocks.bytes_of(outcome.entries)
        epoch = self.journal.epoch
        self._hash, parts = blocks.packed_block(lanes, entries, details, draft.first_seq, self._hash, epoch, self.shard)
        self.journal.append(parts, draft.first_seq, epoch)
        self.blocks_written += 1
        self.bytes_written += sum(map(len, parts))


def seal(
    entries: npt.NDArray[np.void], details: memoryview, lanes: bytes, first_seq: int, entropy: Entropy, shard: int
) -> None:
    """Fill the last entry and details row of a block, and every entry's nonce (DESIGN §3).

    `details` are the rows' own bytes, `lanes` the block's packed positions.
    """
    count = len(entries)
    secret = entropy(NONCE_SIZE * count + SALT_SIZE)
    last = len(details) - DETAILS_SIZE
    details[last + _SALT_AT : last + _SALT_AT + SALT_SIZE] = secret[-SALT_SIZE:]
    details[last + _VERSION_AT] = DETAILS_VERSION
    hashes = hashlib.sha256(details).digest() + hashlib.sha256(lanes).digest()
    seq = U64(first_seq + count - 1)
    _fill(entries, np.frombuffer(secret, _WORD), np.frombuffer(hashes, _WORD), seq, np.uint16(shard))


@compiled
def _fill(entries: Any, nonces: Any, hashes: Any, seq: Any, shard: Any) -> Any:
    """`nonces`: two words for each entry, and what is not for here; `hashes`: four of each in the seal."""
    count = entries.shape[0]
    for k in range(count):
        entries[k].nonce[0] = nonces[2 * k]
        entries[k].nonce[1] = nonces[2 * k + 1]
    last = entries[count - 1]
    last.length = LENGTH_BYTESWAPPED
    last.kind = SEAL
    last.version = ENTRY_VERSION
    last.shard = shard
    last.seq = seq
    # The words of `records.entries.SEAL_EVENT`: count, details hash, positions hash.
    last.event[0] = U64(count - 1)
    for word in range(HASH_WORDS):
        last.event[1 + word] = hashes[word]
