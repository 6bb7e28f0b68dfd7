"""The writer: seals a draft, makes it durable, lets its answers out. The next block is decided meanwhile.

Everything the engine says leaves by this one gate, in order, so nothing is told before it is durable (DESIGN §4).
A failed append ends the process: start-up is the one recovery path.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tallystick.clock import Entropy
from tallystick.engine.drafts import Answer, Draft
from tallystick.journal.port import Journal
from tallystick.ledger.batches import Outcome
from tallystick.records import blocks
from tallystick.records.commands import EVENT_SIZE, Kind
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import ENTRY, LEAF_SIZE, SEAL_EVENT
from tallystick.records.entries import VERSION as ENTRY_VERSION

NONCE_SIZE = 16
SALT_SIZE = 32


class Gate(Protocol):
    """Where durable outcomes go. Called by the writer's thread only."""

    def decided(self, answers: list[Answer]) -> None:
        """Tell those who wait. May be lost on the way: a look-up is always right."""
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
        self.gate.decided(work.answers)
        if work.outcome is not None:
            self.gate.durable(work.positions)

    def _append(self, draft: Draft, outcome: Outcome) -> None:
        seal(outcome, draft.first_seq, draft.positions, self.entropy, self.shard)
        entries, details = outcome.entries.view(np.ndarray).view(ENTRY), outcome.details.view(np.ndarray)
        self._hash, parts = blocks.entry_block(
            entries, details, draft.positions, draft.first_seq, self._hash, self.journal.epoch, self.shard
        )
        self.journal.append(parts, draft.first_seq, self.journal.epoch)
        self.blocks_written += 1
        self.bytes_written += sum(memoryview(part).nbytes for part in parts)


def seal(outcome: Outcome, first_seq: int, positions: Mapping[bytes, int], entropy: Entropy, shard: int) -> None:
    """Fill the last entry and details row of a block, and every entry's nonce (DESIGN §3)."""
    entries, details = outcome.entries.view(np.ndarray).view(ENTRY), outcome.details.view(np.ndarray)
    count = len(entries)
    entries["nonce"] = np.frombuffer(entropy(NONCE_SIZE * count), "<u8").reshape(count, 2)
    details[-1]["fingerprint"] = np.frombuffer(entropy(SALT_SIZE), "<u8")
    details[-1]["version"] = DETAILS_VERSION
    event = np.zeros(1, SEAL_EVENT)
    event["count"] = count - 1
    event["details_hash"] = np.frombuffer(hashlib.sha256(details.view(np.uint8).data).digest(), "<u8")
    event["positions_hash"] = np.frombuffer(hashlib.sha256(blocks.pack_positions(positions)).digest(), "<u8")
    last = entries[-1:]
    last["length"], last["kind"], last["version"], last["shard"] = LEAF_SIZE, Kind.SEAL, ENTRY_VERSION, shard
    last["seq"] = first_seq + count - 1
    last["event"] = event.view("<u8").reshape(1, EVENT_SIZE // 8)
