"""Books that stand by: kept up with a journal that another engine writes, so that taking over costs its last blocks.

    begin: what was derived before is forgotten, all of the journal applied ─► step: what is new ─► the shard is ours

They are what a start would make, by the same `apply`. Whether they are still of the journal that was taken over is
seen by the hash of the block before: a fail-over of the database may have taken blocks that were applied here.
"""

from contextlib import ExitStack

import structlog

from tallystick.blockfile.disk import Disk
from tallystick.clock import Entropy
from tallystick.compose import parts
from tallystick.compose.journals import Place
from tallystick.engine.deciding import Decider
from tallystick.engine.fetch import Fetcher
from tallystick.engine.homes import homes_of
from tallystick.engine.recovery import apply_block, recover
from tallystick.engine.snapshots import hash_before
from tallystick.errors import Corrupt, OutcomeUnknown, Unavailable
from tallystick.journal.port import JournalReader

INDEX_SLICES = 64
"""Of background work after each look at the journal: about what that long a pause has room for."""
_log = structlog.get_logger("tallystick.compose.standby")


class Standby:
    """Follows one shard's journal, in a data folder that it holds. Used by one thread."""

    def __init__(self, place: Place, disk: Disk, entropy: Entropy, sizes: parts.Sizes) -> None:
        """Takes the data folder's lock. Raises `Fenced` if another engine has it."""
        disk.make_folder(place.lock_path.parent)
        self._lock = ExitStack()
        self._lock.callback(disk.lock(place.lock_path).release)
        self._place = place
        self._disk = disk
        self._entropy = entropy
        self._sizes = sizes
        self._closing = ExitStack()
        self._room: parts.Room | None = None
        self._reader: JournalReader
        self._decider: Decider
        self._hash = b""

    def step(self) -> None:
        """Apply what is new. Whatever goes wrong is said, and tried again; the start that follows will say it, too."""
        try:
            if self._room is None:
                self._begin()
            self._follow(self._reader)
        except (Unavailable, OutcomeUnknown, Corrupt) as error:
            _log.warning("standing by, and cannot follow", error=str(error))
            if isinstance(error, Corrupt):
                self.forget()

    def take(self, journal: JournalReader, place: ExitStack) -> "tuple[parts.Room, Decider] | None":
        """The books, applied to the end of `journal`, which is ours now; None if it continues none: they are forgotten.

        `place` holds them, and the folder in any case, from then on.
        """
        place.enter_context(self._lock.pop_all())
        room = self._room
        if room is None or not self._hash or hash_before(journal, self._decider.next_seq) != self._hash:
            self.forget()
            return None
        before = self._decider.next_seq
        self._follow(journal)
        _log.info("followed", entries=before, tail=self._decider.next_seq - before)
        self._decider.fetcher = Fetcher(journal)
        self._decider.homes = homes_of(room.bookkeeper, self._place.shard)  # as the last of those blocks left them
        room.keeper.follow(self._decider)
        place.enter_context(self._closing.pop_all())
        self._room = None
        return room, self._decider

    def forget(self) -> None:
        """Let go of all of it; the next step begins anew."""
        self._room, self._hash = None, b""
        self._closing.close()

    def _begin(self) -> None:
        with ExitStack() as stack:
            parts.forget_derived(self._place.folder, self._disk)
            self._reader = self._place.reader(self._disk)
            stack.callback(self._reader.close)
            room = parts.room(self._place, self._disk, self._entropy, self._sizes, 0, stack)
            self._decider = recover(self._reader, *room.empty, self._place.shard, keeper=room.keeper)
            self._hash = hash_before(self._reader, self._decider.next_seq) if self._decider.next_seq else b""
            self._room, self._closing = room, stack.pop_all()
        _log.info("following", entries=self._decider.next_seq)

    def _follow(self, journal: JournalReader) -> None:
        decider = self._decider
        for block in journal.read(decider.next_seq) if journal.end() > decider.next_seq else ():
            if self._hash and block.header.previous != self._hash:
                raise Corrupt(f"block {block.header.first} does not continue what was followed")
            apply_block(decider, block, 0)
            self._hash = block.header.hash
        for _ in range(INDEX_SLICES):
            if not (decider.transfer_index.step() or decider.request_index.step()):
                break
