"""What the auditor asks of the signer."""

from collections.abc import Sequence
from typing import Protocol

from tallystick.errors import TallystickError
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.notes import Note


class Stale(TallystickError):
    """The signer signed another size last: prove growth from `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the signer last signed a tree of {size} leaves")
        self.size = size


class Signer(Protocol):
    """Signs checkpoints of one log, each adding to the one before."""

    def sign(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> Note:
        """The checkpoint, signed with every key of the log. The signer remembers it **durably** before it signs.

        `proof` shows that it adds to the tree of `old` leaves, the last one signed; it is empty for `old` 0. The same
        checkpoint may be signed again. Raises `Stale` if another size was signed last, `InvalidProof` if the
        checkpoint does not add to that (a person must know: it is an attack, or a restore from an old copy), and
        `Unavailable` if the signer cannot be asked now.
        """
        ...
