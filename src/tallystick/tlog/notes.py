"""Signed notes: a text and the lines of those who signed it (c2sp.org/signed-note).

Text that has not been opened with a key must not be believed. Parsing is strict: one spelling of each note, so that no
two readers see different things in the same bytes.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

from tallystick.errors import InvalidProof
from tallystick.tlog import signatures
from tallystick.tlog.keys import SignerKey, VerifierKey, check_name, strict_base64

SIGNATURES_MAX = 100
"""Go's and Rust's readers refuse more; the specification wants 16 accepted."""
NOTE_BYTES_MAX = 1_000_000
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Signature:
    """One line: whose, under which key id, and the bytes. Nothing is verified by having one."""

    name: str
    key_id: bytes
    signature: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """As it stands in a note, newline included."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and at least one signature."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        return (self.text + "\n" + "".join(found.line for found in self.signatures)).encode()


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that did sign the note, and when, in seconds since the Unix epoch; 0 if its kind has no time."""

    key: VerifierKey
    time_s: int


def signed(text: str, keys: Iterable[SignerKey], time_s: int) -> Note:
    """The text, signed by each key. `time_s` is for those whose signatures have a time."""
    return Note(text, tuple(signature(text, key, time_s) for key in keys))


def signature(text: str, key: SignerKey, time_s: int) -> Signature:
    """One more line for a note of this text."""
    return Signature(key.name, key.verifier.key_id, signatures.sign(key, text, time_s))


def parse_note(data: bytes) -> Note:
    """A note from its bytes, nothing verified. Raises `InvalidProof`."""
    if len(data) > NOTE_BYTES_MAX:
        raise InvalidProof(f"a note has at most {NOTE_BYTES_MAX} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidProof("a note is UTF-8, and this is not") from error
    if any(sign < " " and sign != "\n" for sign in whole):
        raise InvalidProof("a note has no control characters but newlines")
    # The text may hold blank lines; the last one ends it.
    cut = whole.rfind("\n\n")
    if cut < 0 or not whole.endswith("\n"):
        raise InvalidProof("a note is a text, a blank line, and lines of signatures")
    return Note(whole[: cut + 1], parse_signatures(whole[cut + 2 :]))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """The signature lines of a note, or of a witness's answer: 1 to 100, each ending in a newline."""
    found = lines.split("\n")
    if found.pop() or not 1 <= len(found) <= SIGNATURES_MAX:
        raise InvalidProof(f"a note has 1 to {SIGNATURES_MAX} signatures, each line ended")
    return tuple(_signature(line) for line in found)


def opened(note: Note, keys: Iterable[VerifierKey]) -> list[Signer]:
    """Those of `keys` that signed the note, each once. The text may be believed as far as they are.

    Unknown keys are ignored. Raises `InvalidProof` if a line of a known key does not verify, even beside one that
    does, or if none of the keys signed.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, Signer] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            found.setdefault(key, Signer(key, signatures.verify(key, note.text, line.signature)))
    if not found:
        raise InvalidProof("no key that is trusted here signed the note")
    return list(found.values())


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH.strip():
        raise InvalidProof(f"this is no line of a signature: {line[:60]!r}")
    check_name(parts[1])
    data = strict_base64(parts[2], f"the signature of {parts[1]}")
    if len(data) < 5:
        raise InvalidProof(f"the signature of {parts[1]} is too short")
    return Signature(parts[1], data[:4], data[4:])
