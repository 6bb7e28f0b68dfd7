"""The publisher: gets checkpoints signed and puts them where readers find them. At most one a second.

A checkpoint is published only after the tree under it is durable, and stays published: readers see none that a power
cut could take back (`blockfile.slots`).
"""

from tallystick.auditor.levels import LevelFiles
from tallystick.blockfile.slots import Slots
from tallystick.clock import Clock
from tallystick.errors import Corrupt, InvalidProof, Unavailable
from tallystick.signer.port import Signer, Stale
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.merkle import consistency_proof
from tallystick.tlog.notes import Note, parse_note

EVERY_NS = 1_000_000_000
AGAIN_NS = 600_000_000_000
"""An idle log says now and then that it is still this one: a reader can tell an old checkpoint from a withheld one."""


class Publisher:
    """Publishes checkpoints of one log. Not safe for concurrent calls."""

    def __init__(self, origin: str, levels: LevelFiles, signer: Signer, published: Slots, clock: Clock) -> None:
        """`published` holds the checkpoint as a note, for readers too. Raises `Corrupt` if it holds something else."""
        self._origin = origin
        self._levels = levels
        self._signer = signer
        self._slots = published
        self._clock = clock
        self._last: Checkpoint | None = None
        self._at_ns: int | None = None
        if published.value is not None:
            try:
                self._last = parse_checkpoint(parse_note(published.value).text)
            except InvalidProof as error:
                raise Corrupt(f"what is published is no checkpoint: {error}") from error

    @property
    def last(self) -> Checkpoint | None:
        """What is published; None before the first."""
        return self._last

    def publish(self) -> Checkpoint | None:
        """Publish the tree as it is flushed now, if it is time to; returns the new checkpoint, **durable**.

        Raises `Unavailable` if the signer cannot be asked now, and `Corrupt` if it refuses: then this tree is not the
        one that was signed before, and a person must find out why.
        """
        now_ns = self._clock.monotonic_ns()
        size = self._levels.size
        if self._last is not None and self._at_ns is not None:
            wait_ns = AGAIN_NS if size == self._last.size else EVERY_NS
            if now_ns - self._at_ns < wait_ns:
                return None
        if self._last is not None and size < self._last.size:
            return None  # the tree is being made again
        checkpoint = Checkpoint(self._origin, size, self._levels.root())
        note = self._signed(checkpoint)
        if note is None:
            return None
        self._slots.store(note.encode())
        self._last, self._at_ns = checkpoint, now_ns
        return checkpoint

    def _signed(self, checkpoint: Checkpoint) -> Note | None:
        old = self._last.size if self._last else 0
        tree = self._levels.tree()
        for _ in range(2):
            if old > checkpoint.size:
                return None  # killed after the signature and before it was published: wait until the tree is there
            proof = consistency_proof(old, checkpoint.size, tree.nodes) if old else []
            try:
                note = self._signer.sign(old, proof, checkpoint)
            except Stale as error:
                old = error.size
            except InvalidProof as error:
                raise Corrupt(f"the signer refuses the tree of {checkpoint.size} leaves: {error}") from error
            else:
                if note.text != checkpoint.body:
                    raise Corrupt("the signer signed something else than it was asked to")
                return note
        raise Unavailable("the signer was asked by somebody else in between")
