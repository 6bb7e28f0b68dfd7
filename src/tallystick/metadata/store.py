"""Where encrypted text stands: an SQLite file, by tenant and commitment. Useless without the persons' keys.

A backup may hold it, and must not hold the keys.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tallystick.clock import Entropy
from tallystick.metadata import sealing
from tallystick.metadata.keys import PersonKeys
from tallystick.records import commitments
from tallystick.records.commitments import Opening
from tallystick.sqlitefiles import translated

FILE_MODE = 0o600
WAIT_S = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS texts (
    tenant BLOB NOT NULL,       -- 8 bytes
    commitment BLOB NOT NULL,   -- 32 bytes
    person TEXT NOT NULL,       -- opaque
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, commitment)
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Text:
    """Text of one payment. `person`: opaque id of whose it is. `index`: which of its request's payments."""

    person: str
    request_id: int
    index: int
    fields: Mapping[str, str]


class MetadataStore:
    """Text by commitment. Safe for threads, one at a time; any number of processes."""

    def __init__(self, path: Path, keys: PersonKeys, entropy: Entropy) -> None:
        """The file is made when it is first used."""
        self._path = path
        self._keys = keys
        self._entropy = entropy
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def keep(self, tenant: int, texts: Sequence[Text]) -> list[bytes]:
        """Keep texts, all or none; returns their commitments, the same for the same. **Durable on return.**

        Raises `Unavailable` if they cannot be kept now; no payment must then be made with these commitments.
        """
        keys = self._keys.obtain_all(tenant, (text.person for text in texts))
        rows = [self._row(tenant, text, keys[text.person]) for text in texts]
        with self._telling() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?)", rows)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
        return [row[1] for row in rows]

    def _row(self, tenant: int, text: Text, key: bytes) -> tuple[bytes, bytes, str, bytes]:
        openings = sealing.openings_of(key, text.request_id, text.index, text.fields)
        commitment = commitments.commit_all(openings)
        sealed = sealing.seal(key, self._entropy(sealing.NONCE_SIZE), tenant, commitment, openings)
        return tenant.to_bytes(8, "big"), commitment, text.person, sealed

    def opened(self, tenant: int, commitment: bytes) -> dict[str, Opening] | None:
        """The openings under a commitment; None if there are none here, or the person's key was destroyed.

        Raises `Unavailable`, and `Corrupt` if what is kept is not what was committed to.
        """
        with self._telling() as connection:
            row = connection.execute(
                "SELECT person, sealed FROM texts WHERE tenant = ? AND commitment = ?",
                (tenant.to_bytes(8, "big"), commitment),
            ).fetchone()
        key = self._keys.find(tenant, row[0]) if row is not None else None
        return None if key is None else sealing.unseal(key, tenant, commitment, row[1])

    def erase(self, tenant: int, person: str) -> int:
        """Destroy a person's key, and with it all text of theirs; returns how many texts nobody can read any more.

        Raises `Unavailable` if it could not be done: then it is not done.
        """
        with self._telling() as connection:
            count = connection.execute(
                "SELECT count(*) FROM texts WHERE tenant = ? AND person = ?", (tenant.to_bytes(8, "big"), person)
            ).fetchone()[0]
        return int(count) if self._keys.destroy(tenant, person) else 0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _telling(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self._path, "take it from a backup"):
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=FILE_MODE)
        connection = sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        return connection
