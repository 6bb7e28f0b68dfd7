"""The way to the signer: one question and one answer a connection, on a Unix socket that only this user can reach.

The question is the body of add-checkpoint (`tlog.submissions`) with a bare checkpoint; the answer a line with a code of
HTTP's meaning, then what belongs to it:

    200 ‖ signed checkpoint    409 ‖ size signed last    422 ‖ why not, for ever    503 ‖ why not now
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tallystick.errors import InvalidProof, Unavailable
from tallystick.signer.port import Signer, Stale
from tallystick.tlog.checkpoints import Checkpoint, decimal, parse_checkpoint
from tallystick.tlog.notes import Note, parse_note
from tallystick.tlog.submissions import Submission, parse_submission

MESSAGE_BYTES_MAX = 262_144
TIMEOUT_S = 5.0
"""For a whole exchange; a signature and two syncs take milliseconds."""


class SignerClient:
    """As `port.Signer`, by way of the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> Note:
        body = Submission(old, tuple(proof), checkpoint.body.encode()).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(str(self._path))
                connection.sendall(body)
                connection.shutdown(socket.SHUT_WR)
                code, _, said = _read_all(connection).partition(b"\n")
        except OSError as error:
            raise Unavailable(f"the signer does not answer at {self._path}: {error}") from error
        if code == b"200":
            return parse_note(said)
        if code == b"409":
            raise Stale(decimal(said.decode("ascii", "replace"), "the size the signer names"))
        if code == b"422":
            raise InvalidProof(said.decode("utf-8", "replace"))
        raise Unavailable(f"the signer cannot sign now: {said.decode('utf-8', 'replace') or 'it said nothing'}")


class SignerServer:
    """Answers one connection after the other. Its process ends at any failure to remember what was signed."""

    def __init__(self, path: Path, signer: Signer) -> None:
        """Listens. The caller holds the lock that keeps a second signer away. Raises `Unavailable`."""
        self._signer = signer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)
            self._listener.bind(str(path))
            os.chmod(path, 0o600)
            self._listener.listen(16)
        except OSError as error:
            self._listener.close()
            raise Unavailable(f"cannot bind the signer's socket at {path}: {error}") from error

    def serve_one(self, timeout_s: float) -> bool:
        """Answer one question; False if none came in time. Raises what ended the signer's memory, and nothing else."""
        self._listener.settimeout(timeout_s)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return False
        with connection:
            connection.settimeout(TIMEOUT_S)
            try:
                asked = _read_all(connection)
            except OSError:
                return True
            said = self._answer(asked)
            with suppress(OSError):  # who does not wait for the answer asks again
                connection.sendall(said)
        return True

    def _answer(self, asked: bytes) -> bytes:
        try:
            submission = parse_submission(asked)
            checkpoint = parse_checkpoint(submission.checkpoint.decode())
            return b"200\n" + self._signer.sign(submission.old, submission.proof, checkpoint).encode()
        except Stale as error:
            return b"409\n%d" % error.size
        except (InvalidProof, UnicodeDecodeError) as error:
            return b"422\n" + str(error).encode()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


def _read_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(65_536):
        data += part
        if len(data) > MESSAGE_BYTES_MAX:
            raise OSError(f"over {MESSAGE_BYTES_MAX} bytes")
    return bytes(data)
