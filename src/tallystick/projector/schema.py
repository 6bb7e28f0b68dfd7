"""The projector's file: tables, indexes, and how SQLite is set up and its errors told.

Rows are numbered by the seq of their entry, so that order by rowid is the order of the journal. Inside a tenant that
is also the order of timestamps (an import must not regress), which `recording` checks; hence no index holds a
timestamp, and a range of timestamps is a range of rows (`searching`).

**Each index is paid for with every transfer.** There is one for each field that a filter can name, so that a filter
on one field takes time in proportion to what it gives, and none for anything else: the engine looks up by id.
"""

import contextlib
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from tallystick.errors import Corrupt
from tallystick.projector.columns import OWN_FIELDS
from tallystick.sqlitefiles import translated, whole, write_ahead

VERSION = 2
"""2: lines with their number in each account, metadata, amounts that can be searched, totals."""
_APPLICATION_ID = 0x7A11_571C
_CACHE_KIB = 262_144
"""At most: the pages that a commit of many entries changes. A small file takes no more than it has."""
_LOG_BYTES_KEPT = 16_777_216
"""Of SQLite's write-ahead log, once a large commit is in the file."""
MEMORY = ":memory:"

_ACCOUNTS = """
CREATE TABLE accounts (
    seq INTEGER PRIMARY KEY,            -- of the entry that opened it
    tenant INTEGER NOT NULL,
    id BLOB NOT NULL,
    debits_pending BLOB NOT NULL,       -- balances as of the cursor
    debits_posted BLOB NOT NULL,
    credits_pending BLOB NOT NULL,
    credits_posted BLOB NOT NULL,
    user_data_128 BLOB,
    user_data_64 INTEGER,
    user_data_32 INTEGER,
    ledger INTEGER NOT NULL,
    code INTEGER NOT NULL,
    flags INTEGER NOT NULL,             -- closed as of the cursor
    timestamp INTEGER NOT NULL,         -- ns; its own, if it was imported
    credit_limit BLOB NOT NULL,
    frozen INTEGER NOT NULL,
    lines INTEGER NOT NULL              -- entries that concern it, this one the first; as of the cursor
)"""

_TRANSFERS = """
CREATE TABLE transfers (
    seq INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,         -- ns; its own, if it was imported
    decided_at INTEGER NOT NULL,        -- ns
    id BLOB NOT NULL,
    debit INTEGER NOT NULL,             -- accounts.seq
    credit INTEGER NOT NULL,            -- accounts.seq
    amount BLOB NOT NULL,               -- what moved
    pending_seq INTEGER,                -- the pending transfer that it posts or voids
    user_data_128 BLOB,
    user_data_64 INTEGER,
    user_data_32 INTEGER,
    timeout INTEGER NOT NULL,           -- seconds; what the ledger acted on, as flags
    ledger INTEGER NOT NULL,
    code INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    flags_asked INTEGER NOT NULL,       -- others than flags, if it was put under review
    ending INTEGER NOT NULL,            -- records.endings.Ending, as of the cursor
    debit_flags INTEGER NOT NULL,       -- of the accounts, after it
    credit_flags INTEGER NOT NULL,
    balances BLOB NOT NULL,             -- after it: of the debit account debits pending, debits posted, credits
                                        -- pending, credits posted, then of the credit account; 8 × 16 bytes
    debit_sequence INTEGER NOT NULL,    -- its number among the account's lines, from 1 without a gap
    credit_sequence INTEGER NOT NULL,
    amount_key INTEGER NOT NULL,        -- the amount, or the largest number there is here: to be searched by
    metadata BLOB                       -- the client's commitment
)"""

_RESOLUTIONS = """
CREATE TABLE resolutions (              -- what resolves a pending transfer and is none itself: expiry, approval, …
    seq INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    type INTEGER NOT NULL,              -- records.changes.ChangeEventType
    pending_seq INTEGER NOT NULL,
    debit_flags INTEGER NOT NULL,
    credit_flags INTEGER NOT NULL,
    balances BLOB NOT NULL,
    debit INTEGER NOT NULL,
    credit INTEGER NOT NULL,
    debit_sequence INTEGER NOT NULL,
    credit_sequence INTEGER NOT NULL
)"""

_NOTES = """
CREATE TABLE notes (                    -- what concerns an account and moves nothing: a freeze, a limit, an approval
    account INTEGER NOT NULL,           -- accounts.seq
    seq INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    opcode INTEGER NOT NULL,            -- records.commands.Opcode
    value BLOB NOT NULL,                -- of the control: sides or a limit; of an approval the pending transfer's seq
    PRIMARY KEY (account, seq)
) WITHOUT ROWID"""

_TOTALS = """
CREATE TABLE totals (                   -- over all accounts of a ledger with one code, as of the cursor
    tenant INTEGER NOT NULL,
    ledger INTEGER NOT NULL,
    code INTEGER NOT NULL,
    accounts INTEGER NOT NULL,
    debits_pending BLOB NOT NULL,       -- 24 bytes: a sum of u128 may need more than 16
    debits_posted BLOB NOT NULL,
    credits_pending BLOB NOT NULL,
    credits_posted BLOB NOT NULL,
    PRIMARY KEY (tenant, ledger, code)
) WITHOUT ROWID"""

_CURSOR = """
CREATE TABLE cursor (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next_seq INTEGER NOT NULL,          -- the first entry that is not here yet
    decided_at INTEGER NOT NULL,        -- of the last one that is
    block_hash BLOB NOT NULL            -- of the block that it came in
)"""

INDEXES = {
    "accounts_by_id": "CREATE UNIQUE INDEX accounts_by_id ON accounts (tenant, id)",
    "accounts_by_tenant": "CREATE INDEX accounts_by_tenant ON accounts (tenant)",
    "transfers_by_tenant": "CREATE INDEX transfers_by_tenant ON transfers (tenant)",
    "transfers_by_debit": "CREATE INDEX transfers_by_debit ON transfers (debit)",
    "transfers_by_credit": "CREATE INDEX transfers_by_credit ON transfers (credit)",
    "transfers_by_amount": "CREATE INDEX transfers_by_amount ON transfers (tenant, amount_key)",
    "transfers_by_metadata": (
        "CREATE INDEX transfers_by_metadata ON transfers (tenant, metadata) WHERE metadata NOT NULL"
    ),
    "resolutions_by_debit": "CREATE INDEX resolutions_by_debit ON resolutions (debit)",
    "resolutions_by_credit": "CREATE INDEX resolutions_by_credit ON resolutions (credit)",
    "resolutions_by_tenant": "CREATE INDEX resolutions_by_tenant ON resolutions (tenant)",
    **{
        f"{table}_by_{field}": f"CREATE INDEX {table}_by_{field} ON {table} (tenant, {field})"
        for table in ("accounts", "transfers")
        for field in ("ledger", "code")
    },
    **{
        f"{table}_by_{field}": f"CREATE INDEX {table}_by_{field} ON {table} (tenant, {field}) WHERE {field} NOT NULL"
        for table in ("accounts", "transfers")
        for field in OWN_FIELDS
    },
}


def connect(path: Path | None) -> sqlite3.Connection:
    """The file at `path`, made if it is not there; None: in memory. Usable by any thread, one at a time.

    Raises `Corrupt` if it is no projection or of another version, `Unavailable` if it cannot be opened.
    """
    with telling(path):
        connection = sqlite3.connect(MEMORY if path is None else path, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(connection: sqlite3.Connection, path: Path | None) -> None:
    if path is not None:
        write_ahead(connection, path)
    # A power cut may take the newest commits, cursor and all: they are read from the journal again.
    for pragma in (
        "synchronous = NORMAL",
        f"cache_size = -{_CACHE_KIB}",
        f"journal_size_limit = {_LOG_BYTES_KEPT}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    [application], [version] = (connection.execute(f"PRAGMA {name}").fetchone() for name in _MARKS)
    if (application, version) == (_APPLICATION_ID, VERSION):
        return
    if application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise Corrupt(f"{path}: is no projection of version {VERSION}; delete it, and it is made from the journal")
    with whole(connection):
        for statement in (_ACCOUNTS, _TRANSFERS, _RESOLUTIONS, _NOTES, _TOTALS, _CURSOR, *INDEXES.values()):
            connection.execute(statement)
        connection.execute("INSERT INTO cursor VALUES (1, 0, 0, zeroblob(32))")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


_MARKS = ("application_id", "user_version")


def is_old(path: Path) -> bool:
    """Whether the file at `path` is a projection of an earlier version: to be deleted, and made from the journal."""
    if not path.exists():
        return False
    with telling(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        [application], [version] = (connection.execute(f"PRAGMA {name}").fetchone() for name in _MARKS)
    return bool(application == _APPLICATION_ID and version < VERSION)


def telling(path: Path | None) -> AbstractContextManager[None]:
    """Turns SQLite's errors into ours (`sqlitefiles.translated`)."""
    return translated(path or MEMORY, "delete it, and it is made from the journal")
