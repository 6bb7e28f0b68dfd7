"""The sequencer: journal in, tree out. Entry n is leaf n, and the committed bytes are the leaf's bytes.

It cannot skip, repeat or fork: it takes whole blocks in order, each continuing the hash of the one before, and its
cursor is durable only after the tree is. Killed anywhere, it goes on from its cursor and writes the same bytes again.
"""

import struct
from collections.abc import Sequence

import numpy as np

from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.slots import Slots
from tallystick.errors import Corrupt, Damaged
from tallystick.journal.follow import Cursor
from tallystick.records.blocks import EntryBlock
from tallystick.records.entries import ENTRY_SIZE
from tallystick.tlog.merkle import EMPTY_ROOT
from tallystick.tlog.tiles import leaf_hashes

_STATE = struct.Struct("<Q32s32s")  # size, root, hash of the last block


class Sequencer:
    """As `journal.follow.Effects`."""

    def __init__(self, levels: LevelFiles, state: Slots) -> None:
        self._levels = levels
        self._state = state

    @property
    def levels(self) -> LevelFiles:
        """The tree, as far as it has come."""
        return self._levels

    def cursor(self) -> Cursor:
        """Where the durable tree ends. Raises `Damaged` if the tree's files are not what they were.

        After `Damaged` the next start makes the tree again from entry 0: the signer then tells whether the journal is
        still the one that was signed.
        """
        if not self._state.value:
            self._levels.resume(0)
            return Cursor()
        size, root, block_hash = _STATE.unpack(self._state.value)
        try:
            self._levels.resume(size)
            found = self._levels.root()
        except Corrupt:
            found = EMPTY_ROOT
        if found != root:
            self._state.store(b"")
            raise Damaged(f"the tree of {size} leaves is not as it was written; it is made again from the journal")
        return Cursor(size, block_hash)

    def take(self, blocks: Sequence[EntryBlock], after: Cursor) -> None:
        for block in blocks:
            entries = block.entries[self._levels.size - block.header.first :]
            self._levels.append(leaf_hashes(entries.view(np.uint8).data, ENTRY_SIZE))
        if self._levels.size != after.next_seq:
            raise Corrupt(f"the blocks up to entry {after.next_seq} make a tree of {self._levels.size} leaves")
        self._levels.flush()
        assert after.block_hash is not None  # one that was followed from the beginning is known
        self._state.store(_STATE.pack(self._levels.size, self._levels.root(), after.block_hash))
