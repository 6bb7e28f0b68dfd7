"""add-checkpoint, as c2sp.org/tlog-witness has it: what is cosigned, what is not, and the answer to each.

| answer | when |
|---|---|
| 200 | it adds to the last checkpoint cosigned, or is the same; the lines of our cosignatures |
| 400 | it cannot be understood; or `old` is beyond its size |
| 403 | no key that is trusted for its origin signed it, or the line of one that is does not verify |
| 404 | its origin is not known here |
| 409 | `old` is not the size cosigned last; the body says that one |
| 422 | the proof does not verify; another root of the same size; an empty tree with another root than the empty one |
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tallystick.blockfile.disk import Disk
from tallystick.blockfile.slots import Slots
from tallystick.clock import Clock
from tallystick.errors import Corrupt, InvalidProof
from tallystick.tlog.checkpoints import Checkpoint, parse_body, parse_checkpoint
from tallystick.tlog.keys import SignerKey, VerifierKey
from tallystick.tlog.merkle import EMPTY_ROOT, verify_consistency
from tallystick.tlog.notes import Note, opened, parse_note, signature
from tallystick.tlog.submissions import parse_submission

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"
"""Exactly so: with a charset behind it, Go's clients take a 409 for two differing roots."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status, a content type and a body."""

    status: int
    body: bytes
    content_type: str = TEXT


def place(origin: str) -> str:
    """Where the last checkpoint of a log is served, and kept: the SHA-256 of its origin in hex."""
    return sha256(origin.encode()).hexdigest()


class Cosigner:
    """One witness. Safe for threads: of equal requests at once one is first, as if they had come one by one."""

    def __init__(
        self,
        logs: Callable[[], Sequence[VerifierKey]],
        keys: Sequence[SignerKey],
        folder: Path,
        disk: Disk,
        clock: Clock,
    ) -> None:
        """`logs` gives the keys of the logs that are watched, each time anew; a key's name is its log's origin."""
        self._logs = logs
        self._keys = keys
        self._folder = folder
        self._disk = disk
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, Slots] = {}

    def add(self, body: bytes) -> Reply:
        """Cosign what adds to the last checkpoint. That is kept **durably** before the answer says so.

        Raises `Unavailable` or `OutcomeUnknown` if it cannot be kept: this process must then end, nothing was signed.
        """
        try:
            submission = parse_submission(body)
            note = parse_note(submission.checkpoint)
            origin = note.text.partition("\n")[0]
        except InvalidProof as error:
            return _no(400, error)
        trusted = [key for key in self._logs() if key.name == origin]
        if not trusted:
            return Reply(404, f"the log {origin[:200]!r} is not known here\n".encode())
        try:
            opened(note, trusted)
        except InvalidProof as error:
            return _no(403, error)
        try:
            checkpoint = parse_body(note.text)
            if submission.old > checkpoint.size:
                raise InvalidProof(f"old {submission.old} is beyond the size {checkpoint.size}")
        except InvalidProof as error:
            return _no(400, error)
        with self._lock:
            return self._added(submission.old, submission.proof, checkpoint, note)

    def _added(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint, note: Note) -> Reply:
        slots = self._slots(checkpoint.origin)
        last = _checkpoint_in(slots)
        if old != (last.size if last else 0):
            return Reply(409, b"%d\n" % (last.size if last else 0), SIZE)
        try:
            if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
                raise InvalidProof("an empty tree has one root, and this is another")
            if last is not None and last.size:
                verify_consistency(old, checkpoint.size, last.root, checkpoint.root, proof)
            elif proof:
                raise InvalidProof("there is nothing to prove about an empty tree")
        except InvalidProof as error:
            return _no(422, error)
        # Two clocks' worth of caution: a cosignature says when, and never says 0.
        time_s = max(1, self._clock.wall_ns() // 1_000_000_000)
        lines = tuple(signature(note.text, key, time_s) for key in self._keys)
        ours = {(line.name, line.key_id) for line in lines}
        others = tuple(line for line in note.signatures if (line.name, line.key_id) not in ours)
        slots.store(Note(note.text, (*others, *lines)).encode())
        return Reply(200, "".join(line.line for line in lines).encode())

    def last(self, where: str) -> Reply:
        """The last checkpoint cosigned of the log at `where` (see `place`), with our cosignatures."""
        for key in self._logs():
            if place(key.name) == where:
                with self._lock:
                    value = self._slots(key.name).value
                if value is not None:
                    return Reply(200, value)
        return Reply(404, b"no checkpoint of that log was cosigned here\n")

    def close(self) -> None:
        """Let go of files."""
        for slots in self._kept.values():
            slots.close()

    def _slots(self, origin: str) -> Slots:
        if origin not in self._kept:
            self._kept[origin] = Slots(self._folder / place(origin), self._disk)
        return self._kept[origin]


def _checkpoint_in(slots: Slots) -> Checkpoint | None:
    if slots.value is None:
        return None
    try:
        return parse_checkpoint(parse_note(slots.value).text)
    except InvalidProof as error:
        raise Corrupt(f"what was cosigned last is no checkpoint: {error}") from error


def _no(status: int, error: InvalidProof) -> Reply:
    return Reply(status, f"{error}\n".encode())
