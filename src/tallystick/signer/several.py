"""One signer process for several logs: each question goes to the log whose origin it names."""

from collections.abc import Mapping, Sequence

from tallystick.errors import InvalidProof
from tallystick.signer.port import Signer
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.notes import Note


class Several:
    """As `port.Signer`."""

    def __init__(self, by_origin: Mapping[str, Signer]) -> None:
        self._by_origin = by_origin

    def sign(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> Note:
        signer = self._by_origin.get(checkpoint.origin)
        if signer is None:
            raise InvalidProof(f"the signer signs for {', '.join(self._by_origin)}, not for {checkpoint.origin}")
        return signer.sign(old, proof, checkpoint)
