"""What is signed and what never is: the rules of the signer, and its one durable record."""

from collections.abc import Callable, Sequence

from tallystick.blockfile.slots import Slots
from tallystick.clock import Clock
from tallystick.errors import Corrupt, InvalidProof
from tallystick.signer.port import Stale
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import SignerKey
from tallystick.tlog.merkle import EMPTY_ROOT, verify_consistency
from tallystick.tlog.notes import Note, signed


class Signing:
    """As `port.Signer`, in the process that holds the keys. Not safe for concurrent calls."""

    def __init__(self, origin: str, keys: Callable[[], Sequence[SignerKey]], last: Slots, clock: Clock) -> None:
        """`keys` gives those in force, each time anew; `last` holds the body of the last checkpoint signed.

        Raises `Corrupt` if that record is no checkpoint, or one of another log.
        """
        self._origin = origin
        self._keys = keys
        self._slots = last
        self._clock = clock
        self._last = Checkpoint(origin, 0, EMPTY_ROOT)
        if last.value is not None:
            try:
                self._last = parse_checkpoint(last.value.decode())
            except (InvalidProof, UnicodeDecodeError) as error:
                raise Corrupt(f"the signer's record of what it signed last is no checkpoint: {error}") from error
        if self._last.origin != origin:
            raise Corrupt(f"the signer signs for {self._last.origin}, not for {origin}: a log needs its own folder")

    @property
    def last(self) -> Checkpoint:
        """The last checkpoint signed; the empty tree before the first."""
        return self._last

    def sign(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> Note:
        keys = self._keys()
        if checkpoint.origin != self._origin:
            raise InvalidProof(f"the signer signs for {self._origin}, not for {checkpoint.origin}")
        if old != self._last.size:
            raise Stale(self._last.size)
        if checkpoint.size < old:
            raise InvalidProof(f"a tree of {checkpoint.size} leaves cannot follow one of {old}")
        if old:
            verify_consistency(old, checkpoint.size, self._last.root, checkpoint.root, proof)
        elif proof:
            raise InvalidProof("there is nothing to prove about an empty tree")
        elif checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise InvalidProof("an empty tree has one root, and this is another")
        # First remembered, then signed: no signature is out there that a restart would not know of.
        self._slots.store(checkpoint.body.encode())
        self._last = checkpoint
        return signed(checkpoint.body, keys, self._clock.wall_ns() // 1_000_000_000)
