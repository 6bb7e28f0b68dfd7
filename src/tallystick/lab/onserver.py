"""Where the lab keeps a journal of its own: in files, or in a database that it makes and drops.

psycopg is an extra, so what needs it is imported only where a server is named.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

REFERENCE = "pgbench TPC-B (simple, -c 16 -j 2), the same server"
PGBENCH_S = 10


def on_server(journal: str) -> AbstractContextManager[str]:
    """What `TALLY_JOURNAL` is to be: `files`, or the URL of a new database on the server that `journal` names."""
    if journal == "files":
        return nullcontext(journal)
    from tallystick.lab import on_postgresql

    return on_postgresql.database(journal)


def tpc_b(url: str, say: Callable[[str], None]) -> float:
    """Transactions a second of pgbench's TPC-B on the server. Raises `Invalid` if pgbench is not installed."""
    from tallystick.lab import on_postgresql

    say(f"reference: {REFERENCE}, {PGBENCH_S} s")
    return on_postgresql.tpc_b(url, PGBENCH_S)
