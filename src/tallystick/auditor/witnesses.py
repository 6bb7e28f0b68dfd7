"""Cosignatures for our own checkpoints: the policy's witnesses are asked, and a quorum makes a checkpoint *witnessed*.

A witness that is down, slow or wrong costs only the grade: checkpoints, receipts *logged* and payments go on. Other
people's witnesses have their ways: only the log's own signatures are sent to them (one takes 10 KiB at most), and any
answer but 200 and a well-formed 409 means later, never consent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tallystick.auditor.serving import LogReader
from tallystick.blockfile.slots import Slots
from tallystick.errors import InvalidProof, Unavailable
from tallystick.tlog.checkpoints import Checkpoint, decimal, parse_checkpoint
from tallystick.tlog.notes import Note, Signature, opened, parse_note, parse_signatures
from tallystick.tlog.policies import Policy, Witness, believe
from tallystick.tlog.submissions import Submission

SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a witness answered."""

    status: int
    content_type: str
    body: bytes


class WitnessLink(Protocol):
    """The way to witnesses. Threads may share it."""

    def add(self, url: str, body: bytes) -> Reply:
        """POST to add-checkpoint below `url`. Raises `Unavailable` if there is no answer in time."""
        ...


class Gatherer:
    """Gathers cosignatures for one log. `ask_all` maps a function over witnesses, at once where it can."""

    def __init__(
        self,
        policy: Policy,
        link: WitnessLink,
        log: LogReader,
        witnessed: Slots,
        ask_all: Callable[[Callable[[Witness], list[Signature]], Iterable[Witness]], Iterable[list[Signature]]] = map,
    ) -> None:
        """`witnessed` holds the last checkpoint that had its quorum, for readers too."""
        self._policy = policy
        self._link = link
        self._log = log
        self._slots = witnessed
        self._ask_all = ask_all
        self._sizes: dict[str, int] = {}  # by vkey, what a witness cosigned last, as far as is known
        self._done: bytes | None = None

    def gather(self) -> Checkpoint | None:
        """Ask for the checkpoint that is published now, unless it has its quorum; returns it once it has, **durable**.

        Raises `Unavailable` if the quorum is not reached; another call asks again.
        """
        data = self._log.checkpoint()
        if data is None or data == self._done:
            return None
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
        ours = {(key.name, key.key_id) for key in self._policy.logs}
        own = Note(note.text, tuple(line for line in note.signatures if (line.name, line.key_id) in ours))
        asked = [witness for witness in self._policy.witnesses.values() if witness.url]
        lines = [
            line for found in self._ask_all(lambda each: self._cosigned(each, own, checkpoint), asked) for line in found
        ]
        whole = Note(note.text, (*own.signatures, *lines))
        try:
            believe(whole, self._policy)
        except InvalidProof as error:
            raise Unavailable(f"no quorum for the checkpoint of {checkpoint.size} entries: {error}") from error
        self._slots.store(whole.encode())
        self._done = data
        return checkpoint

    def _cosigned(self, witness: Witness, note: Note, checkpoint: Checkpoint) -> list[Signature]:
        """This witness's cosignature, verified; none if it does not give one now."""
        vkey = witness.key.vkey
        old = self._sizes.get(vkey, 0)
        for _ in range(2):
            if old > checkpoint.size:
                self._sizes.pop(
                    vkey, None
                )  # ahead of what is published, or not telling the truth: asked anew next time
                return []
            try:
                body = Submission(old, self._proof(old, checkpoint.size), note.encode()).encode()
                reply = self._link.add(witness.url, body)
                if reply.status == 200:
                    lines = [
                        line
                        for line in parse_signatures(reply.body.decode())
                        if (line.name, line.key_id) == (witness.key.name, witness.key.key_id)
                    ]
                    opened(Note(note.text, tuple(lines)), [witness.key])
                    self._sizes[vkey] = checkpoint.size
                    return lines[:1]
                if reply.status != 409 or reply.content_type.partition(";")[0].strip() != SIZE:
                    return []
                old = self._sizes[vkey] = decimal(reply.body.decode().removesuffix("\n"), "the size the witness names")
            except (InvalidProof, Unavailable, UnicodeDecodeError):
                return []
        return []

    def _proof(self, old: int, size: int) -> tuple[bytes, ...]:
        proof: Sequence[bytes] = self._log.growth(old, size) if 0 < old < size else ()
        return tuple(proof)
