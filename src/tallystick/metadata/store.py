"""Text under commitments: sealed with the person's key, kept by whatever keeps it, opened for who may see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tallystick.clock import Entropy
from tallystick.metadata import sealing
from tallystick.metadata.keys import PersonKeys
from tallystick.metadata.port import Row, SealedTexts
from tallystick.records import commitments
from tallystick.records.commitments import Opening


@dataclass(frozen=True, slots=True)
class Text:
    """Text of one payment. `person`: opaque id of whose it is. `index`: which of its request's payments."""

    person: str
    request_id: int
    index: int
    fields: Mapping[str, str]


class MetadataStore:
    """Text by commitment. Safe for threads; any number of processes."""

    def __init__(self, texts: SealedTexts, keys: PersonKeys, entropy: Entropy) -> None:
        self._texts = texts
        self._keys = keys
        self._entropy = entropy

    def keep(self, tenant: int, texts: Sequence[Text]) -> list[bytes]:
        """Keep texts, all or none; returns their commitments, the same for the same. **Durable on return.**

        Raises `Unavailable` if they cannot be kept now; no payment must then be made with these commitments.
        """
        keys = self._keys.obtain_all(tenant, (text.person for text in texts))
        rows = [self._row(tenant, text, keys[text.person]) for text in texts]
        self._texts.keep(rows)
        return [row[1] for row in rows]

    def _row(self, tenant: int, text: Text, key: bytes) -> Row:
        openings = sealing.openings_of(key, text.request_id, text.index, text.fields)
        commitment = commitments.commit_all(openings)
        sealed = sealing.seal(key, self._entropy(sealing.NONCE_SIZE), tenant, commitment, openings)
        return tenant, commitment, text.person, sealed

    def opened(self, tenant: int, commitment: bytes) -> dict[str, Opening] | None:
        """The openings under a commitment; None if there are none here, or the person's key was destroyed.

        Raises `Unavailable`, and `Corrupt` if what is kept is not what was committed to.
        """
        row = self._texts.find(tenant, commitment)
        key = self._keys.find(tenant, row[0]) if row is not None else None
        return None if key is None or row is None else sealing.unseal(key, tenant, commitment, row[1])

    def erase(self, tenant: int, person: str) -> int:
        """Destroy a person's key, and with it all text of theirs; returns how many texts nobody can read any more.

        Raises `Unavailable` if it could not be done: then it is not done.
        """
        count = self._texts.count(tenant, person)
        return count if self._keys.destroy(tenant, person) else 0

    def close(self) -> None:
        """Let go of what keeps it."""
        self._texts.close()
